"""Every kind of layer with weights: quantized per channel, served by ONNX Runtime, and as simulated."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import Granularity, QuantizationMethod
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.packing import weight_bytes
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from tests.graphs.builders import Array, GraphBuilder
from tests.workers.quantization.networks import request_for
from workers.quantization.export import export
from workers.quantization.float_layers import float_layers, precision_warnings, weight_precision
from workers.quantization.methods import methods
from workers.quantization.prepare import PreparedNetwork, prepare
from workers.quantization.simulate import SimulatedNetwork

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def spread(rng: np.random.Generator, *shape: int, axes: tuple[int, ...] = (0,)) -> Array:
    """Return weights whose channels, the indices of ``axes``, differ in size by up to a hundred times."""
    weight = rng.normal(size=shape) / np.sqrt(shape[-1])
    channels = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return np.asarray(weight * 10.0 ** rng.uniform(-2, 0, channels), np.float32)


def recurrent(
    operator: str,
    direction: str = "forward",
    *,
    layout: int = 0,
    lengths: bool = False,
    states: bool = False,
    reset_last: int = 0,
) -> onnx.ModelProto:
    """Return a recurrent layer of 6 inputs and 5 units, over 7 steps of a batch of 3, before a classifier."""
    directions, hidden, gates = 2 if direction == "bidirectional" else 1, 5, GATES[operator]
    net = GraphBuilder([3, 7, 6] if layout else [7, 3, 6])
    weights = [
        net.constant(spread(net.rng, directions, gates * hidden, 6, axes=(0, 1)), "W"),
        net.constant(spread(net.rng, directions, gates * hidden, hidden, axes=(0, 1)), "R"),
        net.weight(directions, 2 * gates * hidden, name="B"),
        net.constant(np.array([7, 3, 5], np.int32)) if lengths else "",
    ]
    shape = (3, directions, hidden) if layout else (directions, 3, hidden)
    states_of = 2 if operator == "LSTM" else 1
    weights += [net.constant(net.rng.normal(size=shape).astype(np.float32)) for _ in range(states_of)] if states else []
    attributes: dict[str, Any] = {"linear_before_reset": reset_last} if operator == "GRU" else {}
    net.add(operator, "x", *weights, hidden_size=hidden, direction=direction, layout=layout, **attributes)
    return net.build()


def embedding() -> onnx.ModelProto:
    """Return a table of 40 words, looked up and multiplied by a matrix."""
    net = GraphBuilder([2, 9])
    net.inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, [2, 9])]
    net.add("Gather", net.constant(spread(net.rng, 40, 16, axes=(1,)), "table"), "x")
    net.add("MatMul", net.last, net.weight(16, 12, name="w"))
    return net.build()


def transposed(groups: int, rank: int = 2) -> onnx.ModelProto:
    """Return a transposed convolution whose outputs differ in size."""
    net = GraphBuilder([2, 4, *[6] * rank])
    weight = spread(net.rng, 4, 3, *[2] * rank, axes=(1,))
    weight[2:] /= 64
    net.add("ConvTranspose", "x", net.constant(weight, "w"), net.weight(3 * groups), group=groups, strides=[2] * rank)
    return net.build()


def convolution(rank: int) -> onnx.ModelProto:
    net = GraphBuilder([2, 4, *[7] * rank])
    net.add("Conv", "x", net.constant(spread(net.rng, 6, 4, *[3] * rank), "w"), net.weight(6))
    return net.build()


def left_weight(operator: str) -> onnx.ModelProto:
    net = GraphBuilder([4, 16, 5] if operator == "MatMul" else [16, 5])
    if operator == "MatMul":
        net.add("MatMul", net.constant(spread(net.rng, 8, 16), "w"), "x")
    elif operator == "Gemm":
        net.add("Gemm", net.constant(spread(net.rng, 8, 16), "w"), "x", net.weight(8, 5), alpha=0.5)
    else:
        net.add("Gemm", net.constant(spread(net.rng, 16, 8, axes=(1,)), "w"), "x", transA=1)
    return net.build()


def right_weight() -> onnx.ModelProto:
    net = GraphBuilder([16, 5])
    net.add("Gemm", "x", net.constant(spread(net.rng, 16, 8, axes=(1,)), "w"), net.weight(8), transA=1)
    return net.build()


def einsum(equation: str, shape: tuple[int, ...], weight: tuple[int, ...], *, first: bool = False) -> onnx.ModelProto:
    net = GraphBuilder(shape)
    names = ["x", net.constant(spread(net.rng, *weight, axes=(len(weight) - 1,)), "w")]
    net.add("Einsum", *(reversed(names) if first else names), equation=equation)
    return net.build()


def attention(operator: bool) -> onnx.ModelProto:
    """Return self-attention of two heads: MatMul and Softmax, or the operator of opset 23."""
    net = GraphBuilder([2, 6, 8])
    projected = [net.add("MatMul", "x", net.constant(spread(net.rng, 8, 8, axes=(1,)), f"w{i}")) for i in range(3)]
    if operator:
        net.add("Attention", *projected, q_num_heads=2, kv_num_heads=2)
        net.add("MatMul", net.last, net.weight(8, 4, name="w3"))
        return net.build(opset=23, ir_version=10)
    heads = [
        net.add("Transpose", net.add("Reshape", name, net.constant(np.array([0, 0, 2, 4]))), perm=perm)
        for name, perm in zip(projected, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    ]
    net.add("Softmax", net.add("Div", net.add("MatMul", *heads[:2]), net.constant(np.array(2, np.float32))))
    net.add("Transpose", net.add("MatMul", net.last, heads[2]), perm=[0, 2, 1, 3])
    net.add("Reshape", net.last, net.constant(np.array([0, 0, 8])))
    net.add("MatMul", net.last, net.weight(8, 4, name="w3"))
    return net.build()


KINDS: dict[str, tuple[Callable[[], onnx.ModelProto], float]] = {
    "lstm": (lambda: recurrent("LSTM"), 40),
    "lstm of both directions": (lambda: recurrent("LSTM", "bidirectional", lengths=True, states=True), 40),
    "lstm backwards": (lambda: recurrent("LSTM", "reverse", states=True), 40),
    "gru": (lambda: recurrent("GRU", lengths=True), 40),
    "gru, linear before reset": (lambda: recurrent("GRU", "bidirectional", states=True, reset_last=1), 40),
    "rnn": (lambda: recurrent("RNN", "bidirectional", lengths=True, states=True), 40),
    "embedding": (embedding, 30),
    "transposed convolution": (lambda: transposed(1), 30),
    "transposed convolution of two groups": (lambda: transposed(2), 30),
    "transposed convolution of two groups, 1-D": (lambda: transposed(2, 1), 30),
    "transposed convolution of two groups, 3-D": (lambda: transposed(2, 3), 30),
    "convolution 1-D": (lambda: convolution(1), 30),
    "convolution 3-D": (lambda: convolution(3), 30),
    "matmul, weight on the left": (lambda: left_weight("MatMul"), 30),
    "gemm, weight on the left": (lambda: left_weight("Gemm"), 30),
    "gemm, transposed weight on the left": (lambda: left_weight("transA"), 30),
    "gemm of a transposed input": (right_weight, 30),
    "einsum as matmul": (lambda: einsum("bij,jk->bik", (2, 5, 16), (16, 8)), 30),
    "einsum to heads": (lambda: einsum("bnd,dhk->bnhk", (2, 5, 16), (16, 2, 4)), 30),
    "einsum from heads": (lambda: einsum("bnhk,hkd->bnd", (2, 5, 2, 8), (2, 8, 4)), 30),
    "einsum to another order": (lambda: einsum("bnd,dhk->bhnk", (2, 5, 16), (16, 2, 4)), 30),
    "einsum, weight first": (lambda: einsum("kd,bnd->bnk", (2, 5, 16), (8, 16), first=True), 30),
    "einsum of a bilinear form": (lambda: einsum("bhd,hde->bhe", (2, 3, 16), (3, 16, 8)), 30),
    "attention": (lambda: attention(False), 25),
    "attention operator": (lambda: attention(True), 30),
}


def weights_of(kind: str) -> list[str]:
    """Return the names under which the weights of a kind are stored."""
    match kind.split(",")[0].split():
        case ["lstm" | "gru" | "rnn", *_]:
            return ["R/rows", "W/rows"]
        case ["embedding"]:
            return ["table", "w"]
        case ["attention", *_]:
            return ["w0", "w1", "w2", "w3"]
        case ["einsum", "of", *_]:
            return ["w"]
        case ["einsum", *_]:
            return ["w/matrix"]
        case [*_, "left"] | ["gemm", "transposed", *_]:
            return ["w/right"]
        case [*_, "two", "groups"]:
            return ["w/rows"]
        case _ if kind.endswith("left"):
            return ["w/right"]
        case _:
            return ["w"]


def prepared_kind(kind: str) -> PreparedNetwork:
    return prepare(KINDS[kind][0](), ModelMetadata(), seed=0)


def plan_of(
    prepared: PreparedNetwork, *, bits: int = 8, granularity: Granularity = Granularity.CHANNEL
) -> QuantizationPlan:
    request = request_for(weight_bits=bits, weight_granularity=granularity.value)
    return methods[QuantizationMethod.RQ](prepared, request).plan


def run_exact(content: bytes, inputs: dict[str, Array]) -> Array:
    """Return the first output of a graph by kernels that do not saturate on any host."""
    loaded = OnnxRuntimeEngine().load(content, threads=1, layout="u8u8")
    output = loaded.run(inputs)[loaded.outputs[0].name]
    loaded.close()
    return output


def noise_db(expected: Array, actual: Array) -> float:
    error = np.square(actual.astype(np.float64) - expected).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / error)) if error else np.inf


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_weights_are_quantized_and_served_as_simulated(kind: str) -> None:
    prepared = prepared_kind(kind)
    plan = plan_of(prepared)
    assert sorted(plan.weights) == weights_of(kind)
    inputs = dict(prepared.batches[0])
    expected = run_exact(KINDS[kind][0]().SerializeToString(), inputs)
    exported = export(plan)
    served = run_exact(exported.content, inputs)
    assert noise_db(expected, served) > KINDS[kind][1]
    name = exported.outputs[0].name
    simulated = SimulatedNetwork(plan).run(inputs)[name]
    assert noise_db(simulated, served) > KINDS[kind][1]


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("granularity", Granularity)
def test_four_bits_are_packed(kind: str, granularity: Granularity) -> None:
    plan = plan_of(prepared_kind(kind), bits=4, granularity=granularity)
    exported = export(plan)
    codes = sum(int(np.prod(GraphView(plan.model).tensor(name).dims)) for name in plan.weights)
    assert weight_bytes(exported.packed) < codes / 2 + 300
    assert all(quantizer.bits == 4 for quantizer in plan.weights.values())
    prepared = prepared_kind(kind)
    inputs = dict(prepared.batches[0])
    simulated = SimulatedNetwork(plan).run(inputs)[exported.outputs[0].name]
    assert noise_db(simulated, run_exact(exported.content, inputs)) > 25


@pytest.mark.parametrize("method", list(methods))
@pytest.mark.parametrize(
    "kind", ["lstm of both directions", "embedding", "transposed convolution of two groups", "attention"]
)
def test_every_method_takes_every_kind(method: QuantizationMethod, kind: str) -> None:
    prepared = prepared_kind(kind)
    for granularity in Granularity:
        plan = methods[method](prepared, request_for(weight_bits=6, weight_granularity=granularity.value)).plan
        inputs = dict(prepared.batches[0])
        expected = run_exact(KINDS[kind][0]().SerializeToString(), inputs)
        assert noise_db(expected, run_exact(export(plan).content, inputs)) > 10


@pytest.mark.parametrize("operator", GATES)
def test_a_recurrent_layer_has_a_scale_for_each_direction_gate_and_unit(operator: str) -> None:
    plan = plan_of(prepare(recurrent(operator, "bidirectional"), ModelMetadata(), seed=0))
    assert [quantizer.scale.shape for quantizer in plan.weights.values()] == [(2 * GATES[operator] * 5,)] * 2
    assert [site.dequantized for site in plan.sites.weights] == [True, True]
    assert float_layers(plan) == ["n0"]
    assert weight_precision(plan).dequantized == ("n0",)
    said = precision_warnings(plan, 8)
    assert said[0] == "Weights of every layer, the first and the last included, have 8 bits; activations stay in float."
    assert "compute in float" in said[1]
    assert said[1].endswith(": n0.")


def test_each_output_of_a_grouped_transposed_convolution_keeps_its_precision() -> None:
    prepared = prepared_kind("transposed convolution of two groups")
    plan = plan_of(prepared)
    assert plan.sites.weights[0].axis == 0
    inputs = dict(prepared.batches[0])
    expected = run_exact(KINDS["transposed convolution of two groups"][0]().SerializeToString(), inputs)
    served = run_exact(export(plan).content, inputs)
    assert [noise_db(expected[:, i], served[:, i]) > 30 for i in range(6)] == [True] * 6


def test_an_embedding_looks_codes_up() -> None:
    plan = plan_of(prepared_kind("embedding"))
    plain = export(plan).plain
    view = GraphView(plain)
    [lookup] = [node for node in plain.graph.node if node.op_type == "Gather"]
    assert view.tensor(lookup.input[0]).data_type == TensorProto.INT8
    assert view.consumers[lookup.output[0]][0].op_type == "DequantizeLinear"
    packed = export(plan_of(prepared_kind("embedding"), bits=4)).packed
    assert all(tensor.data_type != TensorProto.INT8 or len(tensor.dims) < 2 for tensor in packed.graph.initializer)


def test_layers_that_stay_in_float_are_named() -> None:
    net = GraphBuilder([4, 8])
    net.add("Gemm", "x", net.weight(8, 6, name="w0"), net.weight(6))
    net.add("Gemm", net.last, net.weight(6, 5, name="w1"), net.add("Neg", net.weight(4, 5)), alpha=0.5, beta=0.5)
    prepared = prepare(net.build(), ModelMetadata(), seed=0)
    plan = plan_of(prepared)
    del plan.weights["w0"]
    layers = weight_precision(plan)
    assert layers.floating == ("n0",)
    said = precision_warnings(plan, 8)
    assert said[0].startswith("Weights of 1 of 2 layers have 8 bits;")
    assert "Weights of these layers stay in float: n0." in said
