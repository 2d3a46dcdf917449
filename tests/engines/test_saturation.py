from pathlib import Path

import numpy as np
import pytest

from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import _largest_sums, sums_saturate
from workers.network import OnnxModule


def _has_vnni() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(name in flags.read_text() for name in ("avx512_vnni", "avx_vnni"))


def test_the_probe_answers_255_where_sums_are_exact() -> None:
    import torch

    with torch.no_grad():
        answer = OnnxModule(_largest_sums())(torch.full((1, 64, 8, 8), 255.0))["y"]
    assert np.array_equal(answer.numpy(), np.full((1, 64, 8, 8), 255, np.float32))


@pytest.mark.skipif(not _has_vnni(), reason="this processor has no VNNI: its sums may saturate or not")
def test_sums_are_exact_with_vnni() -> None:
    assert not sums_saturate(OnnxRuntimeEngine())
