"""Two replicas with half of every batch each take the steps of one process, to rounding, on real data."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.workers.processes import ROOT
from tests.workers.training.replicated import STEPS, left_by
from workers.training.replicas import ALONE, Replicas

_ROUNDING = {"cyclegan": 5e-5, "pix2pix": 5e-6, "ft": 1e-2}
"""Largest difference of a gradient, relative to the largest one of all. Measured: 7e-6, 3e-7 and 1.2e-3. FT rounds
activations, and one on the edge between two steps may fall on either side."""


def tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    """Return the tensors of a state by their paths."""
    if isinstance(state, Tensor):
        return {name: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {path: value for key, inner in items for path, value in tensors(inner, f"{name}/{key}").items()}


def gradients(before: Any, after: Any) -> dict[str, Tensor]:
    """Return the gradients of a step from the moving means of Adam before and after it, but for a factor."""
    old, new = tensors(before), tensors(after)
    names = [name for name in new if name.endswith("/exp_avg")]
    decay = 0.5 if any("generators" in name for name in names) else 0.9
    return {name: new[name] - decay * old.get(name, torch.zeros(())) for name in names}


@pytest.mark.parametrize("training", STEPS)
def test_two_replicas_take_the_steps_of_one_process(training: str, shared_data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.workers.training.replicated",
        str(shared_data),
        str(tmp_path),
        training,
        "2",
    ]
    subprocess.run(command, cwd=ROOT, check=True, timeout=240)
    alone, first, second = (left_by(tmp_path, who) for who in ("alone", "0", "1"))
    for step in range(STEPS[training]):
        assert first["losses"][step] == second["losses"][step]
        assert first["losses"][step] == pytest.approx(alone["losses"][step], rel=1e-5)
        expected = gradients(alone["before"][step], alone["after"][step])
        found = gradients(first["before"][step], first["after"][step])
        assert expected.keys() == found.keys()
        assert expected
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=_ROUNDING[training] * largest, msg=name)
        both, own = tensors(first["after"][step]), tensors(second["after"][step])
        assert all(torch.equal(own[name], value) for name, value in both.items())


@pytest.mark.parametrize(("whole", "count"), [(5, 2), (8, 4), (3, 3), (7, 4)])
def test_shares_are_the_whole_batch_and_alike(whole: int, count: int) -> None:
    replicas = [Replicas() for _ in range(count)]
    for rank, replica in enumerate(replicas):
        replica.rank, replica.count = rank, count
    shares = [list(range(whole))[replica.share(whole)] for replica in replicas]
    assert [sample for share in shares for sample in share] == list(range(whole))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sum(replica.weight(whole) for replica in replicas) == pytest.approx(1)
    assert ALONE.share(whole) == slice(0, whole)
