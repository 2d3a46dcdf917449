"""What two networks are compared by, worked out by hand."""

import math
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from faceter.contracts.models import ModelMetadata, Task
from faceter.graphs.canonical import canonicalize
from faceter.graphs.qdq import quantizable
from tests.graphs.builders import GraphBuilder, residual_net
from tests.workers.quantization.mixed.networks import two_headed
from workers.quantization.tuning.losses import (
    Heads,
    agreement,
    feature_divergence,
    feature_tensors,
    find_heads,
    kl_divergence,
    output_divergence,
    relative_error,
)

CLASSES = ModelMetadata(task=Task.IMAGE_CLASSIFICATION)


def logits(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows).log()


def test_kl_divergence_of_two_hand_made_distributions() -> None:
    """KL = Σ p log(p / q), the mean of two samples; any constant added to the scores of a sample changes nothing."""
    teacher, student = logits((0.5, 0.5), (0.9, 0.1)), logits((0.25, 0.75), (0.9, 0.1))
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(kl_divergence(teacher, student)) == pytest.approx(first / 2, rel=1e-5)
    assert float(kl_divergence(teacher + 7, student - 3)) == pytest.approx(first / 2, rel=1e-5)
    assert float(kl_divergence(teacher, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(kl_divergence(student, teacher)) != pytest.approx(first / 2, rel=1e-2)


def test_kl_divergence_of_scores_at_many_places_is_the_mean_over_all() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    flat = kl_divergence(teacher.reshape(12, 5), student.reshape(12, 5))
    torch.testing.assert_close(kl_divergence(teacher, student), flat)


def test_relative_error_does_not_know_units() -> None:
    teacher, student = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.5]])
    assert float(relative_error(teacher, student)) == pytest.approx(0.25 / 25)
    assert float(relative_error(1000 * teacher, 1000 * student)) == pytest.approx(0.25 / 25, rel=1e-5)
    assert float(relative_error(teacher, teacher)) == 0
    assert math.isfinite(float(relative_error(torch.zeros(1, 2), student)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("teacher_learns", [False, True])
def test_the_gradient_of_the_relative_error_is_that_of_its_formula(dtype: torch.dtype, teacher_learns: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(2, 3, 4, 5, generator=generator).to(dtype) for _ in range(2))
    student = student.contiguous(memory_format=torch.channels_last)
    found = []
    for formula in (relative_error, lambda p, q: (q - p).square().sum() / p.square().sum()):
        values = teacher.detach().clone().requires_grad_(teacher_learns), student.detach().clone().requires_grad_(True)
        formula(*values).backward()
        found.append([value.grad for value in values if value.grad is not None])
    assert len(found[0]) == len(found[1]) == 1 + teacher_learns
    for made, wanted in zip(*found, strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-5 if dtype is torch.float32 else 0.05, atol=1e-4)


def test_errors_of_bfloat16_are_measured_in_float32() -> None:
    teacher, student = torch.full((1, 1000), 1.0), torch.full((1, 1000), 1.25)
    assert relative_error(teacher.bfloat16(), student.bfloat16()).dtype is torch.float32
    assert float(relative_error(teacher.bfloat16(), student.bfloat16())) == pytest.approx(0.0625)
    assert kl_divergence(teacher.bfloat16(), student.bfloat16()).dtype is torch.float32


def test_outputs_count_alike_whatever_they_are() -> None:
    heads = Heads("scores", ("boxes", "mask"))
    teacher = {"scores": logits((0.5, 0.5)), "boxes": torch.tensor([[300.0, 400]]), "mask": torch.tensor([[1.0]])}
    student = {"scores": logits((0.2, 0.8)), "boxes": torch.tensor([[300.0, 450]]), "mask": torch.tensor([[1.5]])}
    kl = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)
    expected = (2500 / 250_000 + 0.25 + kl) / 3
    assert float(output_divergence(heads, teacher, student)) == pytest.approx(expected, rel=1e-5)
    only = Heads(None, ("mask",))
    assert float(output_divergence(only, teacher, student)) == pytest.approx(0.25)


def test_features_count_alike_and_there_may_be_none() -> None:
    teacher = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[10.0]])}
    student = {"a": torch.tensor([[3.0]]), "b": torch.tensor([[10.0]])}
    assert float(feature_divergence(["a", "b"], teacher, student)) == pytest.approx(0.125)
    assert float(feature_divergence([], teacher, student)) == 0


def test_agreement_of_classes_is_the_share_of_equal_first_ones() -> None:
    heads = Heads("scores", ("boxes",))
    teacher = {"scores": torch.tensor([[1.0, 2], [3, 1], [0, 9], [5, 4]]), "boxes": torch.zeros(4)}
    student = {"scores": torch.tensor([[8.0, 9], [1, 3], [0, 1], [9, 0]]), "boxes": torch.ones(4)}
    assert agreement(heads, teacher, student) == 0.75


@pytest.mark.parametrize(
    ("values", "expected"), [([3.0, 4.0], 1.0), ([3.0, 4.5], 0.9), ([-3.0, -4.0], 0.0), ([math.nan, 1], 0.0)]
)
def test_agreement_of_other_outputs_is_what_the_error_leaves(values: list[float], expected: float) -> None:
    teacher = {"boxes": torch.tensor([[3.0, 4.0]])}
    assert agreement(Heads(None, ("boxes",)), teacher, {"boxes": torch.tensor([values])}) == pytest.approx(expected)


def classifier(last: str | None, **attributes: Any) -> onnx.ModelProto:
    net = GraphBuilder(["batch", 4, 3])
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(5, 12), net.weight(5), transB=1, output="scores")
    if last is not None:
        net.add(last, output="answer", **attributes)
    return net.build()


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
def test_scores_are_taken_before_a_last_softmax(last: str) -> None:
    assert find_heads(classifier(last, axis=1), CLASSES) == Heads("scores", ())
    assert find_heads(classifier(None), CLASSES) == Heads("scores", ())
    assert find_heads(classifier("Sigmoid"), CLASSES) == Heads("answer", ())


def test_only_a_classifier_has_scores() -> None:
    assert find_heads(classifier("Softmax", axis=1), ModelMetadata()) == Heads(None, ("answer",))


def test_float_outputs_alone_are_compared_all_of_them() -> None:
    assert find_heads(two_headed(), ModelMetadata()) == Heads(None, ("boxes", "mask"))
    named = CLASSES.model_copy(update={"output": "mask"})
    assert find_heads(two_headed(), named) == Heads("mask", ("boxes",))
    assert find_heads(two_headed(), named).tensors == ("mask", "boxes")


def test_an_output_that_joins_others_counts_by_its_parts() -> None:
    """A detector's boxes in pixels would hide its scores."""
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    trunk = net.conv(6, 3)
    parts = [
        net.add("Conv", trunk, net.weight(count, 6, 1, 1), output=name) for name, count in (("boxes", 4), ("raw", 3))
    ]
    net.add("Sigmoid", parts[1], output="scores")
    net.add("Concat", "boxes", "scores", axis=1)
    net.add("Transpose", perm=[0, 2, 3, 1], output="answer")
    assert find_heads(net.build(), ModelMetadata()) == Heads(None, ("boxes", "scores"))


def test_an_output_joined_with_constants_is_left_whole() -> None:
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    first = net.conv(2, 3)
    net.add("Concat", first, net.constant(np.zeros((1, 2, 8, 8), np.float32)), axis=1, output="answer")
    assert find_heads(net.build(), ModelMetadata()) == Heads(None, ("answer",))


def test_what_an_arg_max_chooses_among_stands_for_its_choice() -> None:
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    net.conv(5, 3)
    net.add("ArgMax", output="best", axis=1, keepdims=0)
    model = integer_output(net)
    assert find_heads(model, ModelMetadata()) == Heads(None, (model.graph.node[-1].input[0],))


def test_there_may_be_nothing_to_compare() -> None:
    net = GraphBuilder(["batch", 4])
    net.add("Gemm", net.last, net.weight(4, 4))
    net.add("Cast", output="best", to=TensorProto.INT64)
    assert find_heads(integer_output(net), ModelMetadata()) == Heads(None, ())
    assert find_heads(integer_output(net), CLASSES) == Heads(None, ())


def integer_output(net: GraphBuilder) -> onnx.ModelProto:
    """Return a network whose last tensor holds integers."""
    graph = helper.make_graph(
        net.nodes,
        "graph",
        net.inputs,
        [helper.make_tensor_value_info("best", TensorProto.INT64, None)],
        net.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def features(model: onnx.ModelProto) -> list[str]:
    canonical = canonicalize(model)
    return feature_tensors(canonical, quantizable(canonical))


def test_features_are_residual_sums_where_there_are_several() -> None:
    net = GraphBuilder(["batch", 4, 8, 8])
    net.conv(4, 4)
    trunk = net.add("Relu")
    sums = []
    for _ in range(3):
        branch = net.conv(4, 4)
        net.add("Add", branch, trunk)
        trunk = net.add("Relu")
        sums.append(trunk)
    net.conv(2, 4)
    assert features(net.build()) == sums


def test_features_are_else_what_enters_layers() -> None:
    model = canonicalize(residual_net())
    entering = {node.input[0] for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    found = feature_tensors(model, quantizable(model))
    assert found
    assert "image" not in found
    assert set(found) <= entering | {"t10", "t11", "t12"} | {name for node in model.graph.node for name in node.output}
    assert len(found) == len(set(found))


def test_a_network_of_one_layer_has_no_features() -> None:
    assert features(classifier(None)) == []


def test_losses_have_gradients_for_the_student_alone() -> None:
    student = torch.tensor([[1.0, 2.0]], requires_grad=True)
    torch.autograd.backward(output_divergence(Heads("y", ()), {"y": torch.tensor([[2.0, 1.0]])}, {"y": student}))
    assert student.grad is not None
    probabilities = np.exp([1, 2]) / np.exp([1, 2]).sum()
    wanted = np.exp([2, 1]) / np.exp([2, 1]).sum()
    np.testing.assert_allclose(student.grad[0], probabilities - wanted, rtol=1e-5)
