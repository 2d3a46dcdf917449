from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.packing import PREFIX, is_packed, pack_weights, packed_bytes, unpack_weights, weight_bytes
from faceter.graphs.qdq import write_qdq
from tests.graphs.builders import Array, constants, optimized_operators, residual_net, run, run_optimized
from tests.graphs.min_max import min_max_plan


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def of_codes(*weights: Array, per_channel: bool = False) -> onnx.ModelProto:
    """Return a model whose outputs are the dequantized values of some weights."""
    nodes, initializers, outputs = [], [], []
    for index, codes in enumerate(weights):
        scale = np.ones(codes.shape[0], np.float32) if per_channel else np.float32(1)
        zero = np.zeros(np.shape(scale), codes.dtype)
        names = [f"w{index}", f"s{index}", f"z{index}"]
        initializers += [
            numpy_helper.from_array(np.asarray(value), name)
            for value, name in zip((codes, scale, zero), names, strict=True)
        ]
        nodes.append(helper.make_node("DequantizeLinear", names, [f"y{index}"], axis=0))
        outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, codes.shape))
    unused = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "g", [unused], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def assert_round_trip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Check that numpy and ONNX Runtime unpack the same codes; return the packed model."""
    packed = pack_weights(model)
    onnx.checker.check_model(packed, full_check=True)
    unpacked = unpack_weights(packed)
    expected, actual = constants(model), constants(unpacked)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value)
        assert actual[name].dtype == value.dtype
    assert [node.SerializeToString() for node in unpacked.graph.node] == [
        node.SerializeToString() for node in model.graph.node
    ]
    return packed


@given(st.integers(1, 8), st.integers(1, 70), st.integers(0, 99))
def test_packing_is_lossless_at_any_bits_and_size(bits: int, size: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (size, 3))
    assert_round_trip(of_codes(codes.astype(np.int8)))


@pytest.mark.parametrize("bits", range(1, 8))
def test_onnxruntime_unpacks_the_codes(bits: int) -> None:
    rng = np.random.default_rng(bits)
    weights = [rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape).astype(np.int8) for shape in ((5, 7), (3, 3))]
    packed = assert_round_trip(of_codes(*weights))
    assert is_packed(packed)
    for expected, actual in zip(weights, run(packed, x=np.zeros(1, np.float32)), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("bits", range(2, 8))
def test_packed_weights_have_the_size_of_their_bits(bits: int) -> None:
    codes = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (64, 800)).astype(np.int8)
    packed = pack_weights(of_codes(codes))
    assert weight_bytes(of_codes(codes)) == codes.size
    assert codes.size * bits / 8 <= weight_bytes(packed) <= codes.size * bits / 8 + 100
    assert len(packed.SerializeToString()) <= codes.size * bits / 8 + 4000


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(2, 40), st.integers(1, 9)), min_size=1, max_size=5))
def test_packed_bytes_predicts_the_size(weights: list[tuple[int, int, int]]) -> None:
    rng = np.random.default_rng(0)
    codes = []
    for bits, rows, columns in weights:
        each = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (rows, columns)).astype(np.int8)
        each[0, 0] = -(2 ** (bits - 1))
        codes.append(each)
    shapes = {f"w{index}": each.shape for index, each in enumerate(codes)}
    foretold = packed_bytes(shapes, {f"w{index}": bits for index, (bits, _, _) in enumerate(weights)})
    assert weight_bytes(pack_weights(of_codes(*codes))) == foretold


def test_channels_are_packed_at_their_own_bits() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(2, 9, 32)
    codes = np.stack([rng.integers(-(2 ** (width - 1)), 2 ** (width - 1), 300) for width in bits]).astype(np.int8)
    packed = assert_round_trip(of_codes(codes, per_channel=True))
    np.testing.assert_array_equal(run(packed, x=np.zeros(1, np.float32))[0], codes)
    assert weight_bytes(packed) <= 300 * bits.sum() / 8 + 600


def test_eight_bit_weights_are_not_packed() -> None:
    codes = np.arange(-128, 128).astype(np.int8).reshape(16, 16)
    model = of_codes(codes)
    assert pack_weights(model) == model
    assert not is_packed(model)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
def test_a_packed_network_has_the_same_outputs(bits: int, per_channel: bool, tmp_path: Path) -> None:
    image = normal(4, 3, 16, 16)
    plan = min_max_plan(residual_net(), weight_bits=bits, activation_bits=bits, per_channel=per_channel, image=image)
    model = write_qdq(plan)
    packed = assert_round_trip(model)
    expected = run_optimized(model, image=image)[0]
    np.testing.assert_array_equal(run_optimized(packed, image=image)[0], expected)
    np.testing.assert_array_equal(run_optimized(unpack_weights(packed), image=image)[0], expected)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert optimized_operators(packed, tmp_path / "a") == optimized_operators(model, tmp_path / "b")


def test_packing_and_unpacking_are_idempotent() -> None:
    model = write_qdq(min_max_plan(residual_net(), weight_bits=4, image=normal(2, 3, 16, 16)))
    packed = pack_weights(model)
    assert pack_weights(packed) is packed
    assert unpack_weights(model) is model
    assert pack_weights(unpack_weights(packed)) == packed


def test_a_float_model_is_unchanged() -> None:
    model = residual_net()
    assert pack_weights(model) == model
    assert unpack_weights(model) is model


@pytest.mark.parametrize("damage", ["operator", "initializer", "bomb"])
def test_a_damaged_packed_model_is_a_problem(damage: str) -> None:
    packed = pack_weights(write_qdq(min_max_plan(residual_net(), weight_bits=4, image=normal(2, 3, 16, 16))))
    if damage == "operator":
        packed.graph.node[0].op_type = "Pow"
    elif damage == "initializer":
        del packed.graph.initializer[-1]
        packed.graph.node[0].input[0] = "nowhere"
    else:
        doubled = packed.graph.node[0].output[0]
        bombs = [
            helper.make_node(
                "Concat", [f"{doubled}{'x' * n}"] * 2, [f"{doubled}{'x' * (n + 1)}"], f"{PREFIX}{n}", axis=0
            )
            for n in range(40)
        ]
        packed.graph.node.extend(bombs)
    with pytest.raises(FaceterError) as caught:
        unpack_weights(packed)
    assert caught.value.kind is ProblemKind.INVALID_MODEL


def test_resnet20_at_four_bits_has_half_the_size(shared_data: Path) -> None:
    image = normal(2, 3, 32, 32)
    model = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    quantized = write_qdq(min_max_plan(model, weight_bits=4, activation_bits=4, image=image))
    packed = assert_round_trip(quantized)
    assert weight_bytes(packed) / weight_bytes(quantized) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(run_optimized(packed, image=image)[0], run_optimized(quantized, image=image)[0])
