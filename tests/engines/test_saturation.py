from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from faceter.contracts.models import TensorSpec
from faceter.engines.base import Array, Interrupt
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import _largest_sums, sums_saturate
from faceter.graphs.layouts import has_wide_codes
from workers.onnx_module import OnnxModule


def _has_vnni() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(name in flags.read_text() for name in ("avx512_vnni", "avx_vnni"))


class PairSums:
    """The probe on AVX2: products of neighbouring channels are added in 16 bits, then in 32."""

    def __init__(self, content: bytes, only_symmetric: bool) -> None:
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self.probability_outputs: frozenset[str] = frozenset()
        self.substitutes_float32 = False
        self.bytes = len(content)
        model = onnx.load_model_from_string(content)
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        zero_point = int(self._values["weight_zero"])
        self._largest = 32767 if zero_point == 0 or not only_symmetric else 2**31

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        codes = inputs["x"].astype(np.int64)
        weight = self._values["w"].astype(np.int64)[..., 0, 0]
        products = np.einsum("ncyx,mc->nmcyx", codes, weight)
        pairs = np.minimum(products[:, :, ::2] + products[:, :, 1::2], self._largest)
        sums = pairs.sum(2) - int(self._values["weight_zero"]) * codes.sum(1, keepdims=True)
        return {"y": np.clip(np.rint(sums / self._values["step"]), 0, 255).astype(np.float32)}

    def close(self) -> None:
        self._values = {}


class PairSumsEngine:
    """Loads the probe and counts the calls."""

    def __init__(self, *, only_symmetric: bool = False) -> None:
        self.loaded = 0
        self._only_symmetric = only_symmetric

    def load(self, content: bytes, *, threads: int, layout: str = "u8s8") -> PairSums:
        self.loaded += 1
        return PairSums(content, self._only_symmetric)


@pytest.mark.parametrize("zero_point", [0, -1])
def test_the_probe_is_255_if_sums_are_exact(zero_point: int) -> None:
    import torch

    probe = _largest_sums(zero_point)
    with torch.no_grad():
        answer = OnnxModule(probe)(torch.full((1, 64, 8, 8), 255.0))["y"]
    assert np.array_equal(answer.numpy(), np.full((1, 64, 8, 8), 255, np.float32))
    assert has_wide_codes(probe)


@pytest.mark.parametrize("only_symmetric", [True, False])
def test_16_bit_sums_are_detected(only_symmetric: bool) -> None:
    assert sums_saturate(PairSumsEngine(only_symmetric=only_symmetric))


def test_the_probe_runs_once_per_process() -> None:
    engine = PairSumsEngine()
    for _ in range(3):
        assert sums_saturate(engine)
    assert engine.loaded == 1
    assert OnnxRuntimeEngine() == OnnxRuntimeEngine()


@pytest.mark.skipif(not _has_vnni(), reason="this processor has no VNNI: its sums may saturate or not")
def test_sums_are_exact_with_vnni() -> None:
    assert not sums_saturate(OnnxRuntimeEngine())
