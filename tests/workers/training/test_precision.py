"""What training computes in."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from workers.training import precision
from workers.training.precision import Precision, choose

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def hardware(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(precision, "_in_hardware", lambda device: request.param)
    return bool(request.param)


def test_bfloat16_is_taken_where_the_processor_has_it(hardware: bool) -> None:
    assert choose(CPU).name == ("bfloat16" if hardware else "float32")


def test_the_network_is_tried_in_bfloat16_and_only_then(hardware: bool) -> None:
    seen = []

    def attempt() -> None:
        seen.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)

    choose(CPU, attempt)
    assert seen == ([torch.bfloat16] if hardware else [])


@pytest.mark.parametrize("error", [RuntimeError, TypeError, NotImplementedError])
def test_a_network_that_does_not_run_in_bfloat16_stays_in_float32(error: type[Exception], hardware: bool) -> None:
    assert choose(CPU, raising(error)).name == "float32"


def raising(error: type[Exception]) -> Callable[[], object]:
    def attempt() -> None:
        raise error("no kernel for BFloat16")

    return attempt


def test_products_are_computed_in_it_and_float32_is_left_alone() -> None:
    product = torch.ones(3, 3)
    with Precision("bfloat16", CPU).autocast():
        assert (product @ product).dtype is torch.bfloat16
    with Precision("float32", CPU).autocast():
        assert (product @ product).dtype is torch.float32


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu sse avx512_bf16 vnni", True), ("fpu amx_bf16", True), ("fpu avx2 avx512f", False)]
)
def test_the_processor_says_what_it_has(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
    assert precision._in_hardware(CPU) is expected
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "absent")
    assert precision._in_hardware(CPU) is False
