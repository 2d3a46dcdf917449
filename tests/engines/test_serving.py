import numpy as np
import onnx
import pytest

from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.engines.serving import host_layout, is_exact, served_layout
from faceter.graphs.layouts import layouts
from faceter.graphs.packing import pack_weights, unpack_weights
from faceter.graphs.qdq import write_qdq
from tests.engines.reports import report_of
from tests.graphs.builders import Array, residual_net
from tests.graphs.min_max import min_max_plan


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def quantized(bits: int) -> onnx.ModelProto:
    return pack_weights(write_qdq(min_max_plan(residual_net(), weight_bits=bits, image=normal(4, 3, 16, 16))))


def test_the_served_layout_of_a_report() -> None:
    assert served_layout(report_of("u8s8-blocks", "u8s8", "u8u8")) == "u8s8-blocks"


def test_without_a_report_or_with_an_unknown_layout_it_is_the_plain_one() -> None:
    assert served_layout(None) == "u8s8"
    assert served_layout(report_of("u4s4-of-tomorrow", "u8s8-blocks")) == "u8s8"


@pytest.mark.parametrize("layout", layouts)
def test_where_sums_are_exact_the_reported_layout_is_used(layout: str) -> None:
    assert host_layout(report_of(layout), quantized(8).SerializeToString(), saturates=False) == layout


@pytest.mark.parametrize("layout", layouts)
def test_where_sums_saturate_8_bit_weights_are_unsigned(layout: str) -> None:
    content = quantized(8).SerializeToString()
    assert host_layout(report_of(layout), content, saturates=True) == "u8u8"
    assert host_layout(None, content, saturates=True) == "u8u8"


@pytest.mark.parametrize("layout", layouts)
def test_where_sums_saturate_narrow_weights_use_the_reported_layout(layout: str) -> None:
    content = quantized(4).SerializeToString()
    assert host_layout(report_of(layout), content, saturates=True) == layout


@pytest.mark.parametrize("saturates", [True, False])
def test_a_float_model_is_plain(saturates: bool) -> None:
    assert host_layout(None, residual_net().SerializeToString(), saturates=saturates) == "u8s8"


@pytest.mark.parametrize("bits", [8, 4])
def test_a_host_whose_sums_saturate_has_an_exact_layout(bits: int) -> None:
    content = quantized(bits).SerializeToString()
    chosen = host_layout(None, content, saturates=True)
    assert is_exact(chosen, unpack_weights(onnx.load_model_from_string(content)), saturates=True)


@pytest.mark.parametrize("bits", [8, 4])
def test_all_layouts_compute_the_same(bits: int) -> None:
    content = quantized(bits).SerializeToString()
    image = normal(4, 3, 16, 16)
    answers = []
    plain, saturates = unpack_weights(onnx.load_model_from_string(content)), sums_saturate(OnnxRuntimeEngine())
    for layout in (name for name in layouts if is_exact(name, plain, saturates=saturates)):
        loaded = OnnxRuntimeEngine().load(content, threads=1, layout=layout)
        answers.append(loaded.run({"image": image})["logits"])
        loaded.close()
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_a_float_model_is_loaded_the_same_in_every_layout() -> None:
    image = normal(2, 3, 16, 16)
    content = residual_net().SerializeToString()
    first, *others = (
        OnnxRuntimeEngine().load(content, threads=1, layout=layout).run({"image": image})["logits"]
        for layout in layouts
    )
    for answer in others:
        np.testing.assert_array_equal(answer, first)
