"""Plans survive a round trip through a checkpoint state."""

import numpy as np
import pytest

from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from tests.graphs.builders import residual_net
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import IMAGES, prepared_for
from workers.jobs.checkpoints import dump, load
from workers.quantization.aciq import ACIQ
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.plan_states import plan_from_state, plan_state


def plans() -> dict[str, QuantizationPlan]:
    prepared = prepared_for(residual_net(), IMAGES)
    return {
        "per channel": RawQuantization()(prepared, request_for(weight_bits=3, activation_bits=5)).plan,
        "per tensor": RawQuantization()(prepared, request_for(weight_granularity="tensor")).plan,
        "varied bits, new biases": ACIQ()(prepared, request_for(weight_bits=4)).plan,
    }


@pytest.mark.parametrize("name", ["per channel", "per tensor", "varied bits, new biases"])
def test_a_plan_survives_the_round_trip(name: str) -> None:
    plan = plans()[name]
    back = plan_from_state(load(dump(plan_state(plan))))
    assert pack_weights(write_qdq(back)).SerializeToString() == pack_weights(write_qdq(plan)).SerializeToString()
    assert back.sites == plan.sites
    for made, wanted in ((back.weights, plan.weights), (back.activations, plan.activations)):
        assert made.keys() == wanted.keys()
        for key, quantizer in wanted.items():
            np.testing.assert_array_equal(made[key].scale, quantizer.scale)
            assert made[key].scale.dtype == np.float32
            np.testing.assert_array_equal(made[key].zero_point, quantizer.zero_point)
            assert (made[key].bits, made[key].axis, made[key].signed) == (
                quantizer.bits,
                quantizer.axis,
                quantizer.signed,
            )
            assert (made[key].channel_bits is None) == (quantizer.channel_bits is None)
