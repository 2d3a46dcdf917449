import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.graphs.canonical import canonicalize
from faceter.graphs.describe import input_specs, output_specs
from faceter.graphs.float_types import float_type_warnings, has_bfloat16_signature, in_float32, other_float_types
from faceter.graphs.shapes import infer_shapes
from tests.graphs.builders import GraphBuilder, residual_net, run

TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "float64": TensorProto.DOUBLE}


def mlp(name: str) -> onnx.ModelProto:
    """Return two layers, all of whose tensors have one floating-point type, with a Cast and a fill value between."""
    kind, dtype = TYPES[name], helper.tensor_dtype_to_np_dtype(TYPES[name])
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 6)), "b": rng.normal(size=6), "v": rng.normal(size=(6, 3))}
    half = numpy_helper.from_array(np.array([0.5]).astype(dtype), "half")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Cast", ["flag"], ["factor"], to=kind),
        helper.make_node("ConstantOfShape", ["one"], ["offset"], value=half),
        helper.make_node("Mul", ["r", "factor"], ["m"]),
        helper.make_node("Add", ["m", "offset"], ["s"]),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    constants = [numpy_helper.from_array(value.astype(dtype), key) for key, value in weights.items()]
    constants += [
        numpy_helper.from_array(np.array([2], np.int32), "flag"),
        numpy_helper.from_array(np.array([1]), "one"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("name", TYPES)
def test_arithmetic_is_float32_and_the_signature_stays(name: str) -> None:
    model = mlp(name)
    before = model.SerializeToString()
    changed = in_float32(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed, full_check=True)
    assert input_specs(changed) == input_specs(model)
    assert output_specs(changed) == output_specs(model)
    types = {info.dtype for key, info in infer_shapes(changed).items() if key not in ("x", "y")}
    assert name not in types
    assert "float32" in types
    (warning,) = float_type_warnings(model)
    assert name in warning
    assert float_type_warnings(changed) == [] or name != "float64"


@pytest.mark.parametrize(("name", "tolerance"), [("float16", 2e-3), ("float64", 1e-6)])
def test_values_stay(name: str, tolerance: float) -> None:
    model = mlp(name)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(name)
    expected = run(model, x=x)[0]
    for changed in (in_float32(model), canonicalize(model)):
        actual = run(changed, x=x)[0]
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_without_a_signature_everything_is_float32() -> None:
    model = mlp("bfloat16")
    assert has_bfloat16_signature(model)
    changed = in_float32(model, keep_signature=False)
    assert not has_bfloat16_signature(changed)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    weights = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in model.graph.initializer}
    hidden = np.maximum(x @ weights["w"] + weights["b"], 0) * 2 + 0.5
    np.testing.assert_allclose(run(changed, x=x)[0], hidden @ weights["v"], rtol=1e-5, atol=1e-5)


def test_a_float32_model_is_unchanged() -> None:
    model = residual_net()
    assert in_float32(model) is model
    assert float_type_warnings(model) == []


def test_sizes_computed_in_float64_stay() -> None:
    """Exporters compute the size of a Resize in float64, where float32 would round large sizes."""
    net = GraphBuilder(["n", 4])
    net.add("Gemm", "x", net.weight(4, 4))
    size = net.constant(np.array([3], np.int64))
    net.add("Cast", size, to=TensorProto.DOUBLE)
    net.add("Mul", net.last, net.constant(np.array([1.5])))
    model = net.build("t0")
    assert other_float_types(model) == []
    assert in_float32(model) is model


@pytest.mark.parametrize("value", [-np.inf, np.finfo(np.float64).min])
def test_the_lowest_number_of_a_mask_stays_low(value: float) -> None:
    model = mlp("float64")
    mask = next(tensor for tensor in model.graph.initializer if tensor.name == "b")
    mask.CopyFrom(numpy_helper.from_array(np.array([value] * 6), "b"))
    changed = {tensor.name: numpy_helper.to_array(tensor) for tensor in in_float32(model).graph.initializer}["b"]
    assert (changed == (-np.inf if np.isinf(value) else np.finfo(np.float32).min)).all()


def test_a_mixed_model_has_one_type_afterwards() -> None:
    model = mlp("float16")
    model.graph.node.insert(0, helper.make_node("Cast", ["z"], ["x"], to=TensorProto.FLOAT16))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4]))
    changed = canonicalize(model)
    assert [node.op_type for node in changed.graph.node if node.op_type == "Cast"] == ["Cast"]
    assert input_specs(changed)[0].dtype == "float32"
    assert output_specs(changed)[0].dtype == "float16"
