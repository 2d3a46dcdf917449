"""Choosing a layout: the fastest of those that are exact on the host."""

from dataclasses import dataclass

import numpy as np
import pytest

from faceter.engines.onnxruntime import OnnxRuntimeEngine, OnnxRuntimeModel
from faceter.graphs.layouts import PLAIN, layouts
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from tests.graphs.builders import residual_net
from tests.workers.quantization.networks import exact_layout, prepared_for, request_for
from workers.model_input import Batch
from workers.quantization.layouts import choose
from workers.quantization.methods import methods

BATCH: Batch = {"image": np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)}

WIDEST = 8 if exact_layout() == PLAIN else 7
"""Bits of weights whose sums are exact on this host in every layout."""


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceter.engines.timing._MAX_RUNS", 6)


def file_of(bits: int, seed: int = 0) -> bytes:
    request = request_for(method="rq", weight_bits=bits, activation_bits=bits)
    plan = methods[request.method](prepared_for(residual_net(seed)), request).plan
    return bytes(pack_weights(write_qdq(plan)).SerializeToString())


def test_all_layouts_are_timed_and_one_is_served() -> None:
    content = file_of(WIDEST)
    served = choose(content, OnnxRuntimeEngine(), BATCH, threads=1, saturates=False)
    assert [choice.layout for choice in served.choices] == list(layouts)
    assert [choice.layout for choice in served.choices if choice.served] == [served.layout]
    plain = OnnxRuntimeEngine().load(content, threads=1).run(BATCH)
    np.testing.assert_array_equal(served.loaded.run(BATCH)["logits"], plain["logits"])
    assert all(served.layout in note for note in served.warnings)


def test_where_sums_saturate_weights_of_8_bits_are_unsigned() -> None:
    content = file_of(8)
    served = choose(content, OnnxRuntimeEngine(), BATCH, threads=1, saturates=True)
    assert served.layout == "u8u8"
    assert [choice.layout for choice in served.choices] == ["u8u8"]
    [note] = served.warnings
    assert "u8s8, u8s8-by-4, u8s8-blocks" in note
    assert "16 bits" in note
    exact = OnnxRuntimeEngine().load(content, threads=1, layout=exact_layout()).run(BATCH)
    np.testing.assert_array_equal(served.loaded.run(BATCH)["logits"], exact["logits"])


def test_where_sums_saturate_narrow_weights_may_be_signed() -> None:
    served = choose(file_of(4), OnnxRuntimeEngine(), BATCH, threads=1, saturates=True)
    assert [choice.layout for choice in served.choices] == list(layouts)


@dataclass(frozen=True)
class WrongInBlocks(OnnxRuntimeEngine):
    """A host that answers something else in one layout: it loads another network there."""

    other: bytes = b""

    def load(self, content: bytes, *, threads: int, layout: str = "u8s8") -> OnnxRuntimeModel:
        return super().load(self.other if layout == "u8s8-blocks" else content, threads=threads, layout=layout)


def test_a_layout_that_answers_otherwise_is_dropped_and_named() -> None:
    engine = WrongInBlocks(other=file_of(WIDEST, seed=1))
    served = choose(file_of(WIDEST), engine, BATCH, threads=1, saturates=False)
    assert [choice.layout for choice in served.choices] == ["u8s8", "u8s8-by-4", "u8u8"]
    assert "u8s8-blocks is not served" in served.warnings[0]
