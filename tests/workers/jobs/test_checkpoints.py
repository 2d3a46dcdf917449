"""Checkpoints: bytes that hold a state, and nothing that runs."""

import io
import pickle
import zipfile
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from faceter.contracts.errors import FaceterError, ProblemKind
from workers.jobs.checkpoints import dump, frozen, load


def optimizer_state() -> dict[str, object]:
    parameter = nn.Parameter(torch.randn(3, 2, 2, 2).contiguous(memory_format=torch.channels_last))
    optimizer = torch.optim.Adam([{"params": [parameter], "rate": 0.3}], betas=(0.5, 0.9))
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return optimizer.state_dict()


def test_a_state_survives_as_it_was() -> None:
    state: dict[str, Any] = {
        "bfloat16": torch.randn(4).bfloat16(),
        "empty": torch.empty(0, 3),
        "random": torch.Generator().manual_seed(3).get_state(),
        "optimizer": optimizer_state(),
        "module": nn.Linear(2, 2).state_dict(),
        "nothing": None,
        "numbers": [1, 2.5, True, float("inf")],
        "words": {"phase": "tuning W4A4 – ü"},
        "bytes": b"a checkpoint inside",
    }
    back = load(dump(state))
    assert back.keys() == state.keys()
    for name in ("nothing", "numbers", "words", "bytes"):
        assert back[name] == state[name]
    for name in ("bfloat16", "empty", "random"):
        assert torch.equal(back[name], state[name])
        assert back[name].dtype is state[name].dtype
    assert isinstance(back["module"], OrderedDict)
    moments, wanted = (item["optimizer"]["state"][0]["exp_avg"] for item in (back, state))
    assert torch.equal(moments, wanted)
    assert moments.stride() == wanted.stride(), "in the memory format it had"
    assert back["optimizer"]["param_groups"][0]["rate"] == 0.3


def test_an_optimizer_takes_a_frozen_state_back() -> None:
    kept = frozen(optimizer_state())
    parameter = nn.Parameter(torch.zeros(3, 2, 2, 2))
    optimizer = torch.optim.Adam([{"params": [parameter], "rate": 0.0}])
    optimizer.load_state_dict(kept)
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert optimizer.param_groups[0]["rate"] == 0.3
    assert list(optimizer.param_groups[0]["betas"]) == [0.5, 0.9]


def test_a_frozen_state_is_not_changed_by_what_comes_after() -> None:
    value = torch.zeros(3)
    state: dict[str, Any] = {"deep": [{"tensor": value, "list": [1]}], "tuple": (value,)}
    kept = frozen(state)
    value += 1
    state["deep"][0]["list"].append(2)
    assert kept["deep"][0]["tensor"].tolist() == [0, 0, 0]
    assert kept["deep"][0]["list"] == [1]
    assert kept["tuple"][0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", dump({"a": torch.ones(9)})[:-40], pickle.dumps({"a": 1})])
def test_bytes_that_are_no_checkpoint_are_refused(content: bytes) -> None:
    with pytest.raises(FaceterError, match="checkpoint cannot be read") as caught:
        load(content)
    assert caught.value.kind is ProblemKind.INTERNAL_ERROR


class Trap:
    """Runs code where it is unpickled."""

    ran = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Trap, "ran", True)


def test_nothing_in_a_checkpoint_is_run() -> None:
    with pytest.raises(FaceterError, match="checkpoint cannot be read"):
        load(dump({"trap": Trap()}))
    original = io.BytesIO(dump({"a": 1}))
    forged = io.BytesIO()
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(Trap()) if name.endswith("data.pkl") else source.read(name))
    with pytest.raises(FaceterError, match="checkpoint cannot be read"):
        load(forged.getvalue())
    assert not Trap.ran
