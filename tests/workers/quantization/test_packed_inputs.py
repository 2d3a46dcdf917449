"""All inputs of a network as one tensor."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.models import TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from workers.input_batch import Batch
from workers.quantization.packed_inputs import InputPacking, input_packing

DTYPES = ("float32", "int64", "int32", "uint8", "bool")


def spec(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=list(shape))


def values(item: TensorSpec, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = [size if isinstance(size, int) else count for size in item.shape]
    if item.dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, 2 if item.dtype == "bool" else 250, size=shape).astype(item.dtype)


@given(
    st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(1, 4), max_size=3)), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_packing_is_undone(inputs: list[tuple[str, list[int]]], count: int) -> None:
    rng = np.random.default_rng(0)
    specs = [spec(f"i{index}", "batch", *shape, dtype=dtype) for index, (dtype, shape) in enumerate(inputs)]
    packing = InputPacking(specs)
    batch: Batch = {item.name: values(item, count, rng) for item in specs}
    packed = packing.pack(batch)
    assert packed.shape == (count, *packing.sample_shape)
    assert packed.dtype == np.float32
    back = packing.unpack(packed)
    network = packing.to_network(torch.from_numpy(packed))
    for item in specs:
        np.testing.assert_array_equal(back[item.name], batch[item.name])
        assert back[item.name].dtype == batch[item.name].dtype
        taken = network if isinstance(network, torch.Tensor) else network[item.name]
        np.testing.assert_array_equal(taken.numpy(), batch[item.name])


def test_a_single_float_input_is_the_tensor_itself() -> None:
    packing = InputPacking([spec("image", "batch", 3, 4, 5)])
    x = torch.zeros(2, 3, 4, 5)
    assert packing.to_network(x) is x


def test_a_sample_of_a_network_without_a_common_batch_axis_is_a_whole_run() -> None:
    specs = [spec("input", 1, 6), spec("state", 2, 1, 3), spec("rate", dtype="int64")]
    packing = InputPacking(specs)
    assert packing.whole_runs
    assert packing.sample_shape == (13,)
    batch: Batch = {"input": np.ones((1, 6), np.float32), "state": np.zeros((2, 1, 3), np.float32), "rate": np.array(8)}
    network = packing.to_network(torch.from_numpy(packing.pack(batch)))
    assert isinstance(network, dict)
    assert {name: tuple(item.shape) for name, item in network.items()} == {
        "input": (1, 6),
        "state": (2, 1, 3),
        "rate": (),
    }
    assert network["rate"].dtype == torch.int64
    assert int(network["rate"]) == 8


def test_gradients_pass_to_float_inputs() -> None:
    packing = InputPacking([spec("a", "batch", 2), spec("b", "batch", 3)])
    x = torch.ones(4, 5, requires_grad=True)
    inputs = packing.to_network(x)
    assert isinstance(inputs, dict)
    torch.autograd.backward((2 * inputs["a"]).sum() + inputs["b"].sum())
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 2.0, 1.0, 1.0, 1.0]] * 4


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_images_are_packed_channels_first(layout: str) -> None:
    preprocessing = Preprocessing.model_validate({"size": [4, 6], "layout": layout})
    shape = (4, 6, 3) if layout == "channels_last" else (3, 4, 6)
    packing = input_packing([spec("image", "batch", *shape)], preprocessing)
    assert packing.sample_shape == (3, 4, 6)
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    packed = packing.pack({"image": images})
    assert packed.shape == (2, 3, 4, 6)
    np.testing.assert_array_equal(packing.unpack(packed)["image"], images)
