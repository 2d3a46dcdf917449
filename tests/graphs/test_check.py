import io
import pickle
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.check import NEWEST_OPSET, OLDEST_OPSET, load_model
from tests.graphs.builders import GraphBuilder, residual_net, run

LIMIT = 1 << 20


def refusal(content: bytes, *, max_bytes: int = LIMIT) -> FaceterError:
    with pytest.raises(FaceterError) as caught:
        load_model(content, max_bytes=max_bytes)
    assert caught.value.problem().errors[0].field == "file"
    return caught.value


def of(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString())


def test_a_valid_model_is_loaded() -> None:
    model = residual_net()
    assert load_model(of(model), max_bytes=LIMIT) == model


def test_an_empty_file() -> None:
    error = refusal(b"")
    assert error.kind is ProblemKind.INVALID_MODEL
    assert "empty" in error.detail


def test_a_file_over_the_limit() -> None:
    error = refusal(of(residual_net()), max_bytes=100)
    assert error.kind is ProblemKind.PAYLOAD_TOO_LARGE
    assert "100 at most" in error.detail


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(kept: float) -> None:
    content = of(residual_net())
    assert refusal(content[: int(len(content) * kept)]).kind is ProblemKind.INVALID_MODEL


def test_every_truncation_is_rejected() -> None:
    content = of(residual_net())
    for length in range(0, len(content), 97):
        assert refusal(content[:length]).kind is ProblemKind.INVALID_MODEL


def test_damaged_bytes_never_raise_anything_else() -> None:
    content = bytearray(of(residual_net()))
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(0, 256)
        try:
            load_model(bytes(damaged), max_bytes=LIMIT)
        except FaceterError as error:
            assert error.detail  # noqa: PT017


def _zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (_zip(), "zip archive"),
        (pickle.dumps({"weights": [1.0]}), "pickle"),
        (pickle.dumps([1, 2], protocol=2), "pickle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite"),
        ((40).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}' + bytes(100), "safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"<html><body>404</body></html>", "web page"),
    ],
)
def test_another_format_is_named(content: bytes, named: str) -> None:
    error = refusal(content)
    assert error.kind is ProblemKind.INVALID_MODEL
    assert named in error.detail


@pytest.mark.parametrize("content", [b"hello, world", b"\x00" * 64, b"\x08\x08", b"\xff" * 1000, b"{}"])
def test_bytes_that_are_not_a_model(content: bytes) -> None:
    assert refusal(content).kind is ProblemKind.INVALID_MODEL


def test_external_data() -> None:
    model = residual_net()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    error = refusal(of(model))
    assert error.kind is ProblemKind.EXTERNAL_DATA
    assert tensor.name in error.detail


@pytest.mark.parametrize("domain", ["ai.onnx.preview.training", "my.company"])
def test_a_custom_domain(domain: str) -> None:
    model = residual_net()
    model.graph.node[2].domain = domain
    model.opset_import.append(helper.make_opsetid(domain, 1))
    error = refusal(of(model))
    assert error.kind is ProblemKind.CUSTOM_OPERATORS
    assert f"{domain}::Relu" in error.detail
    assert model.graph.node[2].name in error.detail


def test_an_unused_opset_import_is_removed() -> None:
    model = residual_net()
    model.opset_import.append(helper.make_opsetid("pkg.onnxscript.torch_lib", 1))
    assert [item.domain for item in load_model(of(model), max_bytes=LIMIT).opset_import] == [""]


@pytest.mark.parametrize("opset", [1, OLDEST_OPSET - 1, NEWEST_OPSET + 1, 99])
def test_an_opset_out_of_range(opset: int) -> None:
    model = residual_net()
    model.opset_import[0].version = opset
    error = refusal(of(model))
    assert error.kind is ProblemKind.UNSUPPORTED_OPSET
    assert f"opset {opset}" in error.detail


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset_in_range(opset: int) -> None:
    net = GraphBuilder([1, 3, 8, 8])
    net.conv(4, 3)
    net.add("Relu")
    load_model(of(net.build(opset=opset)), max_bytes=LIMIT)


def test_no_opset_at_all() -> None:
    model = residual_net()
    del model.opset_import[:]
    error = refusal(of(model))
    assert error.kind is ProblemKind.INVALID_MODEL
    assert "no opset" in error.detail


@pytest.mark.parametrize("part", ["node", "output"])
def test_a_graph_without(part: str) -> None:
    model = residual_net()
    del getattr(model.graph, part)[:]
    assert part in refusal(of(model)).detail


def test_a_graph_without_inputs() -> None:
    constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(2, np.float32)))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    model = helper.make_model(helper.make_graph([constant], "g", [], [output]), ir_version=8)
    assert "no inputs" in refusal(of(model)).detail


def test_a_node_that_reads_an_undefined_tensor() -> None:
    model = residual_net()
    model.graph.node[3].input[0] = "nowhere"
    assert "checker" in refusal(of(model)).detail


def test_inconsistent_shapes() -> None:
    model = residual_net()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "classifier")
    weight.CopyFrom(numpy_helper.from_array(np.ones((5, 13), np.float32), "classifier"))
    assert "shapes" in refusal(of(model)).detail


@pytest.mark.parametrize("change", ["node", "initializer", "input"])
def test_duplicate_tensor_names(change: str) -> None:
    model = residual_net()
    if change == "node":
        model.graph.node[4].output[0] = model.graph.node[3].output[0]
    elif change == "initializer":
        model.graph.initializer.append(model.graph.initializer[0])
    else:
        model.graph.input.append(model.graph.input[0])
    assert "twice" in refusal(of(model)).detail


def test_a_weight_with_too_few_bytes() -> None:
    model = residual_net()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    error = refusal(of(model))
    assert model.graph.initializer[0].name in error.detail


def test_a_weight_with_a_huge_shape() -> None:
    model = residual_net()
    model.graph.initializer[0].dims[0] = 1 << 40
    assert refusal(of(model)).kind is ProblemKind.INVALID_MODEL


def test_sparse_initializers() -> None:
    model = residual_net()
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    assert "sparse" in refusal(of(model)).detail


def test_local_functions_are_inlined() -> None:
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "a"], ["b"])]
    function = helper.make_function("local", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=imports, ir_version=8)
    loaded = load_model(of(model), max_bytes=LIMIT)
    assert [node.op_type for node in loaded.graph.node] == ["Relu", "Add"]
    assert not loaded.functions
    np.testing.assert_array_equal(run(loaded, x=np.array([1, -2], np.float32))[0], [2, -2])


def test_custom_operators_inside_a_branch_are_found() -> None:
    def branch(domain: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Relu", ["x"], ["o"], domain=domain)], "b", [], [output])

    def model(domain: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            [
                helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
                helper.make_node("Cast", ["total"], ["test"], to=TensorProto.BOOL),
                helper.make_node("If", ["test"], ["y"], then_branch=branch(""), else_branch=branch(domain)),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        )
        imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    load_model(of(model("")), max_bytes=LIMIT)
    assert refusal(of(model("custom"))).kind is ProblemKind.CUSTOM_OPERATORS


def test_the_shape_of_an_output_is_inferred() -> None:
    model = residual_net()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    [output] = load_model(of(model), max_bytes=LIMIT).graph.output
    assert [size.dim_param or size.dim_value for size in output.type.tensor_type.shape.dim] == ["batch", 5]
