"""Graphs as other exporters leave them: as many integer layers as from an export by faceter."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from faceter.contracts.quantizations import QuantizationMethod
from faceter.export.module import export
from faceter.graphs.check import load_model
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from tests.graphs.builders import optimized_operators, run
from tests.workers.architectures import MobileNetV2, export_of, exported, exported_by_tracing, seeded, seeded_module
from tests.workers.quantization.networks import outputs_of, prepared_for, request_for
from workers.quantization.methods import methods
from workers.quantization.prepare import PreparedNetwork

FLOAT_KERNELS = {"Conv", "FusedConv", "Gemm", "MatMul", "BatchNormalization", "Add", "GlobalAveragePool"}


class ComputedWeights(nn.Module):
    """Weights that the graph makes from constants: normalized, reshaped, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.normalized = parametrizations.weight_norm(nn.Conv2d(3, 8, 3, padding=1))
        self.first = nn.BatchNorm2d(8)
        self.flat = nn.Parameter(torch.randn(8 * 9) * 0.3)
        self.second = nn.BatchNorm2d(8)
        self.turned = nn.Parameter(torch.randn(8, 6, 1, 1) * 0.3)
        self.classifier = nn.Parameter(torch.randn(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(self.normalized(x)))
        x = torch.relu(self.second(functional.conv2d(x, self.flat.reshape(8, 1, 3, 3), padding=1, groups=8)))
        x = torch.relu(functional.conv2d(x, self.turned.transpose(0, 1)))
        return x.mean((2, 3)) @ self.classifier.t()


def through_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let every node read weights through an Identity, as exporters do that store equal weights once."""
    view = GraphView(model)
    nodes = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if view.is_initializer(name):
                node.input[index] = view.unique(f"{name}/same")
                nodes.append(helper.make_node("Identity", [name], [node.input[index]]))
        nodes.append(node)
    graph = helper.make_graph(nodes, "graph", model.graph.input, model.graph.output, model.graph.initializer)
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def plan_of(prepared: PreparedNetwork) -> QuantizationPlan:
    return methods[QuantizationMethod.RQ](prepared, request_for(weight_granularity="channel")).plan


def assert_quantized(model: onnx.ModelProto, layers: dict[str, int], folder: Path) -> PreparedNetwork:
    """Check that a graph is accepted and quantized as a whole, and that what is served is near the float one."""
    model = load_model(model.SerializeToString(), max_bytes=100_000_000)
    prepared = prepared_for(model)
    assert not {"BatchNormalization", "CastLike", "Identity"} & {node.op_type for node in prepared.model.graph.node}
    [given] = prepared.inputs
    shape = [8, *(size for size in given.shape[1:] if isinstance(size, int))]
    inputs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    [expected] = run(model, **{given.name: inputs})
    [same] = run(prepared.model, **{given.name: inputs})
    np.testing.assert_allclose(same, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    plan = plan_of(prepared)
    assert len(plan.weights) == sum(layers[operator] for operator in ("QLinearConv", "QGemm"))
    written = write_qdq(plan)
    operators = optimized_operators(written, folder)
    assert {operator: operators[operator] for operator in layers} == layers
    assert not set(operators) & FLOAT_KERNELS
    answers = outputs_of(written, inputs, given.name)
    assert np.linalg.norm(answers - expected) < 0.5 * np.linalg.norm(expected)
    return prepared


class ShortMobileNetV2(MobileNetV2):
    """The first stages alone, one block of every kind."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2))


def test_a_plain_torch_export_is_quantized_whole(tmp_path: Path) -> None:
    model = export_of(MobileNetV2)
    left = Counter(node.op_type for node in model.graph.node)
    assert min(left["CastLike"], left["Expand"], left["Shape"]) > 50, "the exporter leaves nothing to fold"
    layers = {"QLinearConv": 52, "QGemm": 1, "QLinearAdd": 10, "QLinearGlobalAveragePool": 1}
    assert len(assert_quantized(model, layers, tmp_path).statistics) == 52


def test_a_plain_torch_export_is_prepared_as_one_by_faceter_is() -> None:
    module = seeded(ShortMobileNetV2())
    theirs = prepared_for(exported(module, [torch.randn(2, 3, 16, 16)], opset=18))
    ours = prepared_for(export(module, [1, 3, 16, 16]))
    assert [node.op_type for node in theirs.model.graph.node] == [node.op_type for node in ours.model.graph.node]
    assert len(theirs.statistics) == len(ours.statistics) > 0
    plans = [plan_of(prepared) for prepared in (ours, theirs)]
    for mine, other in zip(*(plan.weights.values() for plan in plans), strict=True):
        np.testing.assert_array_equal(other.scale, mine.scale)
    for mine, other in zip(*(plan.activations.values() for plan in plans), strict=True):
        np.testing.assert_array_equal(other.scale, mine.scale)


@pytest.mark.parametrize("identities", [False, True])
@pytest.mark.parametrize("opset", [11, 12, 13])
def test_weights_computed_in_an_older_graph_are_found(opset: int, identities: bool, tmp_path: Path) -> None:
    model = exported_by_tracing(seeded_module(ComputedWeights), [torch.randn(2, 3, 16, 16)], tmp_path, opset=opset)
    computing = GraphView(model).producer
    weights = [node.input[1] for node in model.graph.node if node.op_type in ("Conv", "MatMul")]
    assert {computing[name].op_type for name in weights} == {"Transpose", "Reshape", "Mul"}
    if identities:
        model = through_identities(model)
    layers = {"QLinearConv": 3, "QGemm": 1, "QLinearAdd": 0, "QLinearGlobalAveragePool": 1}
    assert len(assert_quantized(model, layers, tmp_path).statistics) == 2
