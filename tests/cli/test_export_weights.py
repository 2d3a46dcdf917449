"""Weights from files: state dicts in every wrapping, safetensors, and files that are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from faceter.cli.export_weights import load_weights
from faceter.export.errors import ExportError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def trained() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.rand(value.shape, generator=generator) + 0.5 if value.is_floating_point() else value
        for name, value in network().state_dict().items()
    }


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in trained().items()}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def assert_loaded(module: nn.Module) -> None:
    for name, value in trained().items():
        assert torch.equal(module.state_dict()[name], value)


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (trained(), []),
        ({"epoch": 3, "state_dict": trained()}, ["weights under 'state_dict'"]),
        ({"params": {}, "params_ema": trained()}, ["weights under 'params_ema'"]),
        ({"model": {"state_dict": trained()}, "lr": 0.1}, ["weights under 'model.state_dict'"]),
        (prefixed("module."), ["prefix 'module.' removed"]),
        ({"net": prefixed("module._orig_mod.")}, ["weights under 'net'", "prefix 'module._orig_mod.' removed"]),
    ],
)
def test_a_state_dict_is_found(content: dict[str, Any], notes: list[str], tmp_path: Path) -> None:
    module = network()
    assert load_weights(module, saved(tmp_path / "net.pth", content)) == notes
    assert_loaded(module)


def test_another_place_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {"both": {"G_A": trained(), "G_B": {"x": torch.ones(1)}}})
    with pytest.raises(ExportError, match=r"no state dict that can be found: it holds both. Name it by --weights-key"):
        load_weights(network(), path)
    module = network()
    load_weights(module, path, key="both.G_A")
    assert_loaded(module)
    with pytest.raises(ExportError, match="has no 'G_C' for --weights-key; it has G_A, G_B"):
        load_weights(module, path, key="both.G_C")
    with pytest.raises(ExportError, match="no state dict under 'both', but a dict"):
        load_weights(module, path, key="both")


@pytest.mark.parametrize("name", ["net.safetensors", "net.bin"])
def test_safetensors(name: str, tmp_path: Path) -> None:
    save_file(trained(), tmp_path / name)
    module = network()
    load_weights(module, tmp_path / name)
    assert_loaded(module)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / name).read_bytes()[:60])
    with pytest.raises(ExportError, match="no safetensors file, or damaged"):
        load_weights(module, tmp_path / "cut.safetensors")


def test_missing_and_unexpected_weights_are_named(tmp_path: Path) -> None:
    weights = trained()
    del weights["0.bias"], weights["1.num_batches_tracked"]
    path = saved(tmp_path / "net.pth", {**weights, "head.weight": torch.ones(2)})
    module = network()
    with pytest.raises(ExportError, match=r"\(missing: 0.bias; unexpected: head.weight\).*--argument.*--no-strict"):
        load_weights(module, path)
    assert load_weights(module, path, strict=False) == ["missing: 0.bias", "unexpected: head.weight"]
    assert torch.equal(module.state_dict()["0.weight"], weights["0.weight"])


def test_weights_of_another_module_are_refused_even_if_not_strict(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"holds no weight of this module: it has other.w; the module needs 0.weight, "
    ):
        load_weights(network(), saved(tmp_path / "a.pth", {"other.w": torch.ones(1)}), strict=False)
    wide = {**trained(), "0.weight": torch.ones(8, 3, 3, 3)}
    words = r"other shapes: 0.weight \[8, 3, 3, 3\] instead of \[4, 3, 3, 3\]. Make the module with the sizes"
    with pytest.raises(ExportError, match=words):
        load_weights(network(), saved(tmp_path / "b.pth", wide), strict=False)


def touch(path: str) -> None:
    Path(path).touch()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (touch, (str(self.path),))


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {"state_dict": trained(), "hook": Trap(tmp_path / "ran")})
    with pytest.raises(ExportError, match=r"holds more than weights: it names 'tests\.cli.*\.touch'.*is not loaded"):
        load_weights(network(), path)
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_module_names_its_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", network())
    with pytest.raises(
        ExportError, match=r"it names 'torch.nn.modules.container.Sequential'.*\.state_dict\(\), 'weights"
    ):
        load_weights(network(), path)


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 cut"])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(ExportError, match="cannot be read as weights: it is damaged"):
        load_weights(network(), tmp_path / "net.pth")
    with pytest.raises(ExportError, match=r"gone.pth cannot be read: No such file"):
        load_weights(network(), tmp_path / "gone.pth")
