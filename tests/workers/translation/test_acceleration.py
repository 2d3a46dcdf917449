"""How networks are run: what is chosen on which host, and that it changes nothing that is learned."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.workers.translation.sources import CPU, paired, small_cyclegan, unpaired
from tests.workers.translation.test_trainer import equal
from workers.host import compiler
from workers.training import precision
from workers.training.precision import Precision
from workers.translation import acceleration
from workers.translation.acceleration import MIN_SECONDS_TO_COMPILE, Accelerator
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.pix2pix import Pix2Pix, Pix2PixSettings
from workers.translation.trainer import TranslatorTrainer

torch_warns_of_itself = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
SMALL = CycleGanSettings(image_size=32, channels=4, blocks=1)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A host with everything."""
    monkeypatch.setattr(precision, "_in_hardware", lambda device: True)
    monkeypatch.setattr(acceleration, "compiler", lambda: "g++")
    return monkeypatch


@pytest.mark.parametrize(
    ("hardware", "compiler", "seconds", "expected"),
    [
        (True, "g++", 3600.0, ("bfloat16", True, "bfloat16 in hardware; compiled")),
        (True, "g++", None, ("bfloat16", True, "bfloat16 in hardware; compiled")),
        (True, "g++", MIN_SECONDS_TO_COMPILE - 1, ("bfloat16", False, "not worth it below 20 minutes")),
        (True, None, 3600.0, ("bfloat16", False, "no C++ compiler")),
        (False, None, 3600.0, ("float32", False, "does not multiply bfloat16 in hardware")),
    ],
)
def test_precision_and_compilation_are_chosen_by_what_the_host_has(
    hardware: bool,
    compiler: str | None,
    seconds: float | None,
    expected: tuple[str, bool, str],
    host: pytest.MonkeyPatch,
) -> None:
    host.setattr(precision, "_in_hardware", lambda device: hardware)
    host.setattr(acceleration, "compiler", lambda: compiler)
    record = Accelerator.choose(CPU, seconds).record
    assert (record.precision, record.compiled) == expected[:2]
    assert expected[2] in record.explanation
    assert record.channels_last is (record.precision == "bfloat16" and record.compiled)


def test_a_compiler_that_fails_is_done_without(
    tmp_path: Path, host: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("no space left on device\nat some place")

    host.setattr(torch, "compile", lambda network, dynamic: broken)
    accelerator = Accelerator.choose(CPU, None)
    with caplog.at_level(logging.WARNING):
        trainer = CycleGan(SMALL, unpaired(tmp_path), accelerator)
    assert "no space left on device" in caplog.text
    assert not accelerator.record.compiled
    assert accelerator.record.explanation.endswith("not compiled: the compiler failed (no space left on device)")
    assert all(bool(loss.isfinite()) for loss in trainer.step(0.0).values())


def learned(trainer: TranslatorTrainer, steps: int = 3) -> tuple[list[dict[str, float]], list[Tensor]]:
    losses = [{name: float(loss) for name, loss in trainer.step(0.0).items()} for _ in range(steps)]
    return losses, [p.detach() for network in trainer.networks.values() for p in network.parameters()]


def test_bfloat16_is_for_convolutions_alone(tmp_path: Path) -> None:
    plain = small_cyclegan(tmp_path)
    fast = CycleGan(plain.settings, unpaired(tmp_path), Accelerator(CPU, Precision("bfloat16", CPU)))
    expected, found = learned(plain)[0], learned(fast)
    assert all(weights.dtype is torch.float32 for weights in found[1])
    assert all(loss.dtype is torch.float32 for loss in fast.step(0.0).values())
    for name, loss in expected[0].items():
        assert found[0][0][name] == pytest.approx(loss, rel=0.02), name
        assert found[0][0][name] != loss, "it is in use"
    for name, loss in expected[2].items():
        assert found[0][2][name] == pytest.approx(loss, rel=0.1), name


@torch_warns_of_itself
@pytest.mark.skipif(compiler() is None, reason="the host has no C++ compiler, and so nothing is compiled on it")
def test_a_compiled_generator_learns_the_same(tmp_path: Path) -> None:
    """Biases before a norm are left out: their gradients are rounding alone, which Adam makes steps of."""
    settings = Pix2PixSettings(image_size=32, generator="resnet", channels=4, blocks=1)
    accelerator = Accelerator(CPU, compiles=True)
    plain = Pix2Pix(settings, paired(tmp_path), Accelerator(CPU))
    fast = Pix2Pix(settings, paired(tmp_path), accelerator)
    assert accelerator.record.compiled, accelerator.record.explanation
    expected, found = learned(plain), learned(fast)
    for one, two in zip(expected[0], found[0], strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)
    for wanted, weights in zip(expected[1], found[1], strict=True):
        if wanted.ndim > 1:
            assert float((weights - wanted).abs().mean()) < 2e-5, "of steps of 2e-4"


def test_trying_out_leaves_dropout_and_weights_as_they_were(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    tried: list[nn.Module] = []

    def not_compiled(network: nn.Module, dynamic: bool) -> nn.Module:
        tried.append(network)
        return network

    host.setattr(torch, "compile", not_compiled)
    settings = Pix2PixSettings(image_size=64, channels=2)
    plain = Pix2Pix(settings, paired(tmp_path, image_size=64), Accelerator(CPU))
    fast = Pix2Pix(settings, paired(tmp_path, image_size=64), Accelerator(CPU, compiles=True))
    assert tried == list(fast.generators().values())
    assert equal(plain, fast)
    assert all(p.grad is None for network in fast.networks.values() for p in network.parameters())
    for one, two in zip(learned(plain)[0], learned(fast)[0], strict=True):
        assert two == pytest.approx(one, rel=1e-4)
