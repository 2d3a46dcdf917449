"""Types that ONNX Runtime has no kernels for on a CPU, and values that are no tensors."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines import onnxruntime as engine
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.text_locales import lacks_locale, with_available_locale
from faceter.graphs.describe import input_specs, output_specs
from tests.graphs import scikit_models
from tests.graphs.builders import Array


def convolution(kind: int) -> onnx.ModelProto:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weight = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(dtype)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 1, 4, 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 2, 2, 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def expected(model: onnx.ModelProto, x: Array) -> Array:
    weight = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64)[:, 0], (3, 3), axis=(1, 2))
    sums: Array = np.einsum("nhwij,oij->nohw", windows, weight[:, 0])
    return sums


@pytest.mark.parametrize(
    ("kind", "substituted"),
    [
        (TensorProto.FLOAT, False),
        (TensorProto.FLOAT16, False),
        (TensorProto.DOUBLE, True),
        (TensorProto.BFLOAT16, True),
    ],
)
def test_a_convolution_runs_in_every_floating_point_type(kind: int, substituted: bool) -> None:
    model = convolution(kind)
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
    assert loaded.substitutes_float32 is substituted
    x = np.random.default_rng(1).normal(size=(2, 1, 4, 4)).astype(helper.tensor_dtype_to_np_dtype(kind))
    y = loaded.run({"x": x})["y"]
    assert y.dtype == (np.float32 if kind == TensorProto.BFLOAT16 else x.dtype)
    np.testing.assert_allclose(y, expected(model, x), rtol=5e-3, atol=5e-3)


def test_a_missing_kernel_of_another_kind_is_no_question_of_types() -> None:
    graph = helper.make_graph(
        [helper.make_node("ImageDecoder", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [None, None, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(FaceterError, match="ImageDecoder") as caught:
        OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
    assert caught.value.kind is ProblemKind.MODEL_NOT_RUNNABLE


def test_sequences_and_maps_are_named_alike_by_file_and_engine() -> None:
    model = scikit_models.multilayer_perceptron(text=True)
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
    assert loaded.inputs == input_specs(model)
    assert loaded.outputs == output_specs(model)
    assert [spec.dtype for spec in loaded.outputs] == ["str", "sequence(map(str, float32))"]
    scores = loaded.run({"X": scikit_models.samples()[0][:2]})[loaded.outputs[1].name]
    assert [sorted(row) for row in scores] == [["cat", "dog", "emu"]] * 2


def normalizer() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="UPPER")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [2])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_texts_change_case_on_hosts_without_the_locale_of_the_model() -> None:
    loaded = OnnxRuntimeEngine().load(normalizer().SerializeToString(), threads=1)
    assert loaded.run({"x": np.array(["straße", "é"], object)})["y"].tolist() == ["STRAßE", "É"]


def test_a_locale_that_every_host_has_is_set() -> None:
    changed = with_available_locale(normalizer())
    assert changed.graph.node[0].attribute[-1].s == b"C.UTF-8"
    assert lacks_locale(RuntimeError("Failed to construct locale with name:en_US.UTF-8"))
    assert not lacks_locale(RuntimeError("no kernel"))


def test_types_without_a_name_are_refused() -> None:
    kinds = set(engine.DTYPES)
    assert "tensor(complex64)" not in kinds
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT8E4M3FN, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT8E4M3FN, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(FaceterError, match="float8e4m3fn"):
        OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
