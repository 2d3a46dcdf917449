from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.layouts import apply_layout
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan, bias_quantizers, fit_biases
from tests.graphs.builders import (
    Array,
    GraphBuilder,
    constants,
    optimized_operators,
    residual_net,
    run,
    run_optimized,
    with_outputs,
)
from tests.graphs.min_max import min_max_plan


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def simulated(plan: QuantizationPlan, **inputs: Array) -> list[Array]:
    """Run the float network of a plan with every quantized tensor fake-quantized."""
    model = onnx.ModelProto()
    model.CopyFrom(plan.model)
    replacements = plan.replacements()
    for tensor in model.graph.initializer:
        if tensor.name in replacements:
            value = replacements[tensor.name].fake(onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    for bias in bias_quantizers(plan):
        [tensor] = [item for item in model.graph.initializer if item.name == bias.bias]
        tensor.CopyFrom(onnx.numpy_helper.from_array(bias.fake(onnx.numpy_helper.to_array(tensor)), bias.bias))
    given = {name: replacements[name].fake(value) if name in replacements else value for name, value in inputs.items()}
    for site in plan.sites.activations:
        for name in site.tensors:
            if name not in given:
                given[name] = plan.activations[site.name].fake(_partial(model, name, given))
    wanted = [value.name for value in model.graph.output]
    return [given[name] if name in given else _partial(model, name, given) for name in wanted]


def _partial(model: onnx.ModelProto, name: str, given: dict[str, Array]) -> Array:
    """Compute one tensor from given ones."""
    part = with_outputs(model, [name])
    del part.graph.output[:]
    part.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    needed, nodes = {name}, []
    for node in reversed(model.graph.node):
        if any(output in needed and output not in given for output in node.output):
            nodes.append(node)
            needed |= {item for item in node.input if item}
    del part.graph.node[:]
    part.graph.node.extend(reversed(nodes))
    del part.graph.input[:]
    feeds = {item: value for item, value in given.items() if item in needed}
    part.graph.input.extend(
        onnx.helper.make_tensor_value_info(item, TensorProto.FLOAT, value.shape) for item, value in feeds.items()
    )
    return run(part, **feeds)[0]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_qdq_graph_equals_simulated_quantization(bits: int, per_channel: bool) -> None:
    image = normal(16, 3, 16, 16)
    plan = min_max_plan(residual_net(), weight_bits=bits, activation_bits=bits, per_channel=per_channel, image=image)
    [expected] = simulated(plan, image=image)
    [served] = run_optimized(write_qdq(plan), image=image)
    close = np.isclose(served, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()).all(axis=1)
    assert close.mean() >= 0.9  # a tie rounded the other way changes one image
    np.testing.assert_allclose(served, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("bits", range(2, 8))
def test_codes_stay_within_their_bits(bits: int) -> None:
    image = normal(2, 3, 16, 16)
    plan = min_max_plan(residual_net(), weight_bits=bits, activation_bits=bits, image=image)
    model = write_qdq(plan)
    names = {f"{name}/q": site for site in plan.sites.activations for name in site.tensors}
    found = run(with_outputs(model, list(names), TensorProto.UINT8), *names, image=image)
    for (name, site), codes in zip(names.items(), found, strict=True):
        assert codes.max() < 2 ** site.bits(bits), name
    for weight in plan.sites.weights:
        assert np.abs(constants(model)[f"{weight.name}/q"].astype(int)).max() < 2 ** (bits - 1)


@pytest.mark.parametrize("limit", [0.5, 6.0, 100.0])
@pytest.mark.parametrize("bits", [8, 4])
def test_relu6_is_a_clip_of_codes(bits: int, limit: float, tmp_path: Path) -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(4, 4)
    net.add("Clip", net.last, net.constant(np.zeros((), np.float32)), net.constant(np.full((), limit, np.float32)))
    net.conv(4, 4)
    x = 3 * normal(1, 4, 8, 8)
    plan = min_max_plan(net.build(), activation_bits=bits, x=x)
    # Also where the range is wider than the clip, so that the quantizer does not clip.
    wider = replace(plan.activations["t1"], scale=plan.activations["t1"].scale * np.float32(1.7))
    plan = replace(plan, activations=plan.activations | {"t1": wider})
    [expected], [served] = simulated(plan, x=x), run_optimized(write_qdq(plan), x=x)
    assert np.abs(served - expected).max() <= 1.01 * plan.activations["t2"].scale
    assert optimized_operators(write_qdq(plan), tmp_path)["QLinearConv"] == 2


def test_data_movement_runs_on_codes(tmp_path: Path) -> None:
    net = GraphBuilder([1, 4, 8, 8])
    trunk = net.conv(4, 4)
    left = net.add("MaxPool", trunk, kernel_shape=[2, 2], strides=[2, 2])
    cut = [net.constant(np.array([value], np.int64)) for value in (0, 8, 2, 2)]
    net.add("Slice", trunk, *cut)
    net.add("Slice", net.last, *cut[:2], net.constant(np.array([3], np.int64)), cut[3])
    right = net.add("Pad", net.last, net.constant(np.array([0, 2, 0, 0, 0, 2, 0, 0], np.int64)))
    net.add("Concat", left, right, axis=1)
    net.add("Resize", net.last, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    net.add("Reshape", net.last, net.constant(np.array([1, 2, 6, 8, 8], np.int64)))
    net.add("Transpose", perm=[0, 2, 1, 3, 4])
    net.add("Reshape", net.last, net.constant(np.array([1, 12, 8, 8], np.int64)))
    net.add("Gather", net.last, net.constant(np.array([3, 1, 2, 0, 5, 11], np.int64)), axis=1)
    net.conv(4, 6)
    x = normal(1, 4, 8, 8)
    plan = min_max_plan(net.build(), x=x)
    assert len(plan.sites.activations) == 3
    model = write_qdq(plan)
    onnx.checker.check_model(model, full_check=True)
    operators = optimized_operators(model, tmp_path)
    assert operators["QLinearConv"] == 2
    assert operators["QuantizeLinear"] == 1
    assert operators["DequantizeLinear"] == 1  # the output
    [expected], [served] = simulated(plan, x=x), run_optimized(model, x=x)
    assert np.abs(served - expected).max() <= 1.01 * plan.activations[net.last].scale


def test_inputs_and_outputs_keep_their_names_and_types() -> None:
    model = residual_net()
    quantized = write_qdq(min_max_plan(model, image=normal(2, 3, 16, 16)))
    assert quantized.graph.input == model.graph.input
    assert quantized.graph.output == model.graph.output


def test_an_output_can_be_quantized() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(4, 4)
    features = net.add("Relu")
    answer = net.conv(4, 4)
    x = normal(1, 4, 8, 8)
    plan = min_max_plan(net.build(features, answer), x=x)
    for expected, served in zip(simulated(plan, x=x), run_optimized(write_qdq(plan), x=x), strict=True):
        np.testing.assert_allclose(served, expected, atol=1.01 * float(plan.activations[answer].scale))


def test_weights_used_twice_with_different_inputs(tmp_path: Path) -> None:
    net = GraphBuilder([1, 4, 8, 8])
    weight, bias = net.weight(4, 4, 1, 1, name="shared"), net.weight(4, name="bias")
    net.add("Conv", net.last, weight, bias)
    net.add("Relu")
    net.add("Conv", net.last, weight, bias)
    x = normal(1, 4, 8, 8)
    plan = min_max_plan(net.build(), x=x)
    assert [item.bias for item in bias_quantizers(plan)] == ["bias", "bias"]
    model = write_qdq(plan)
    assert optimized_operators(model, tmp_path)["QLinearConv"] == 2
    np.testing.assert_allclose(run_optimized(model, x=x)[0], run(net.build(), x=x)[0], atol=0.05)


def test_attention_runs_on_integer_products(tmp_path: Path) -> None:
    net = GraphBuilder(["n", 5, 8], name="x")
    query = net.add("MatMul", "x", net.weight(8, 8))
    key = net.add("MatMul", "x", net.weight(8, 8))
    value = net.add("MatMul", "x", net.weight(8, 8))
    net.add("Transpose", key, perm=[0, 2, 1])
    net.add("MatMul", query, net.last)
    net.add("Softmax", axis=-1)
    net.add("MatMul", net.last, value)
    x = normal(3, 5, 8)
    model = write_qdq(min_max_plan(net.build(), x=x))
    operators = optimized_operators(model, tmp_path)
    assert operators["MatMul"] == operators["Gemm"] == 0
    expected = run(net.build(), x=x)[0]
    np.testing.assert_allclose(run_optimized(model, x=x)[0], expected, atol=0.05 * np.abs(expected).max())


def test_one_dimensional_and_ungrouped_layers(tmp_path: Path) -> None:
    net = GraphBuilder(["n", 3, 40])
    net.add("Conv", net.last, net.weight(8, 3, 5), net.weight(8), pads=[2, 2])
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2], strides=[2])
    net.add("Conv", net.last, net.weight(8, 1, 3), pads=[1, 1], group=8)
    net.add("Relu")
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.add("Gemm", net.last, net.weight(8, 4), net.weight(4))
    x = normal(2, 3, 40)
    for bits in (8, 4):
        plan = min_max_plan(net.build(), weight_bits=bits, activation_bits=bits, x=x)
        folder = tmp_path / str(bits)
        folder.mkdir()
        assert optimized_operators(write_qdq(plan), folder)["QLinearConv"] == 2
        [expected], [served] = simulated(plan, x=x), run_optimized(write_qdq(plan), x=x)
        np.testing.assert_allclose(served, expected, atol=0.05 * np.abs(expected).max())


def test_a_near_dead_channel_with_a_large_bias() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(4, 4)
    net.add("Relu")
    net.conv(4, 4)
    model = net.build()
    weight, bias = constants(model)["w0"].copy(), constants(model)["b0"].copy()
    weight[1] = 1e-12
    bias[1] = 3.0
    for tensor in model.graph.initializer:
        if tensor.name in ("w0", "b0"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight if tensor.name == "w0" else bias, tensor.name))
    x = normal(1, 4, 8, 8)
    plan = min_max_plan(model, x=x)
    fitted = fit_biases(plan)
    assert fitted.weights["w0"].scale[1] > plan.weights["w0"].scale[1]
    np.testing.assert_array_equal(fitted.weights["w0"].scale[[0, 2, 3]], plan.weights["w0"].scale[[0, 2, 3]])
    again = fit_biases(fitted)
    np.testing.assert_array_equal(again.weights["w0"].scale, fitted.weights["w0"].scale)
    expected = run(model, x=x)[0]
    np.testing.assert_allclose(run_optimized(write_qdq(plan), x=x)[0], expected, atol=0.05 * np.abs(expected).max())


def test_bias_codes_are_steps_of_the_accumulator() -> None:
    plan = min_max_plan(residual_net(), image=normal(2, 3, 16, 16))
    first = bias_quantizers(plan)[0]
    np.testing.assert_array_equal(first.scale, plan.activations["image"].scale * plan.weights["w0"].scale)
    bias = constants(plan.model)[first.bias]
    assert np.all(np.abs(first.fake(bias) - bias) <= first.scale * 0.51)


def test_the_plan_is_not_changed() -> None:
    plan = min_max_plan(residual_net(), image=normal(2, 3, 16, 16))
    before = plan.model.SerializeToString()
    write_qdq(plan)
    assert plan.model.SerializeToString() == before


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_resnet20_is_all_integer(bits: int, shared_data: Path, tmp_path: Path) -> None:
    image = normal(4, 3, 32, 32)
    model = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    plan = min_max_plan(model, weight_bits=bits, activation_bits=bits, image=image)
    quantized = write_qdq(plan)
    onnx.checker.check_model(quantized, full_check=True)
    operators = optimized_operators(quantized, tmp_path)
    assert operators["QLinearConv"] == 19
    assert operators["QLinearAdd"] == 9
    assert operators["QLinearGlobalAveragePool"] == operators["QGemm"] == operators["QuantizeLinear"] == 1
    assert operators["DequantizeLinear"] == 0
    if bits == 8:
        expected = run(fold_batch_norms(model).model, image=image)[0]
        served = run_optimized(quantized, image=image)[0]
        assert np.linalg.norm(served - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("bits", [8, 4])
def test_fastestdet_has_no_float_convolution(bits: int, shared_data: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((1, 3, 352, 352)).astype(np.float32)
    model = onnx.load(shared_data / "detection" / "fastestdet.onnx")
    plan = min_max_plan(model, weight_bits=bits, activation_bits=bits, given={"input.1": image})
    plain = write_qdq(plan)
    for layout in ("u8s8", "u8s8-by-4"):
        quantized = apply_layout(plain, layout)
        onnx.checker.check_model(quantized, full_check=True)
        operators = optimized_operators(quantized, tmp_path)
        assert operators["QLinearConv"] == 70
        assert operators["Conv"] == operators["Add"] == operators["AveragePool"] == operators["Relu"] == 0
    if bits == 8:
        [expected], [served] = run(model, **{"input.1": image}), run_optimized(quantized, **{"input.1": image})
        assert np.linalg.norm(served - expected) < 0.2 * np.linalg.norm(expected)
