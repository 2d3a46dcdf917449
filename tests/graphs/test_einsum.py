"""Einsum and products with a weight on the left, as matrix products."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.graphs.canonical import canonicalize
from tests.graphs.builders import GraphBuilder, run

SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 2, "f": 3}


def model_of(equation: str, *, weight: int | None) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return an Einsum of two operands; the one at position ``weight`` is constant."""
    rng = np.random.default_rng(0)
    terms = equation.split("->")[0].split(",")
    shapes = [[SIZES[label] for label in term.strip()] for term in terms]
    values = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    net = GraphBuilder(shapes[0 if weight != 0 else 1])
    names = ["x", "x"]
    inputs = {"x": values[0 if weight != 0 else 1]}
    if weight is not None:
        names[weight] = net.constant(values[weight], "w")
    else:
        names[1] = "z"
        net.inputs.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, shapes[1]))
        inputs["z"] = values[1]
    net.add("Einsum", *names, equation=equation)
    return net.build(), inputs


@st.composite
def equations(draw: st.DrawFn) -> str:
    labels = st.lists(st.sampled_from(sorted(SIZES)), min_size=1, max_size=4, unique=True)
    first, second = draw(labels), draw(labels)
    used = sorted({*first, *second})
    kept = [label for label in used if label not in first or draw(st.booleans())]
    result = draw(st.permutations(kept))
    return f"{''.join(first)}, {''.join(second)} -> {''.join(result)}"


@settings(max_examples=150, derandomize=True)
@given(equations(), st.sampled_from([None, 0, 1]))
def test_any_equation_gives_the_same(equation: str, weight: int | None) -> None:
    model, inputs = model_of(equation, weight=weight)
    changed = canonicalize(model)
    onnx.checker.check_model(changed, full_check=True)
    [expected], [actual] = run(model, **inputs), run(changed, **inputs)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "weight", "becomes"),
    [
        ("abc,cd->abd", 1, ["MatMul"]),
        ("dc,abc->abd", 0, ["MatMul"]),
        ("abc,cde->abde", 1, ["MatMul", "Reshape"]),
        ("abcd,cde->abe", 1, ["Reshape", "MatMul"]),
        ("abc,cd->adb", 1, ["MatMul", "Transpose"]),
        ("abcd,abed->abce", None, ["Transpose", "MatMul"]),
        ("abc,bcd->abd", 1, ["Einsum"]),
        ("abc,abd->ab", None, ["Einsum"]),
        ("ab,ab->a", None, ["Einsum"]),
    ],
)
def test_what_it_becomes(equation: str, weight: int | None, becomes: list[str]) -> None:
    model, _ = model_of(equation, weight=weight)
    assert [node.op_type for node in canonicalize(model).graph.node] == becomes


@pytest.mark.parametrize(("trans_a", "trans_b"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("bias", [None, (5,), (4, 1), (4, 5)])
def test_gemm_with_a_weight_on_the_left(trans_a: int, trans_b: int, bias: tuple[int, ...] | None) -> None:
    net = GraphBuilder([5, 3] if trans_b else [3, 5])
    names = [net.weight(*((3, 4) if trans_a else (4, 3))), "x"]
    if bias is not None:
        names.append(net.weight(*bias))
    net.add("Gemm", *names, transA=trans_a, transB=trans_b, alpha=0.5)
    model = net.build()
    changed = canonicalize(model)
    product = next(node for node in changed.graph.node if node.op_type in ("Gemm", "MatMul"))
    assert product.input[1] in {tensor.name for tensor in changed.graph.initializer}
    x = np.random.default_rng(1).normal(size=(5, 3) if trans_b else (3, 5)).astype(np.float32)
    np.testing.assert_allclose(run(changed, x=x)[0], run(model, x=x)[0], rtol=1e-4, atol=1e-5)
