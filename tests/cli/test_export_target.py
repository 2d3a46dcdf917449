"""Modules named on the command line: imported, made, or refused with the remedy."""

from pathlib import Path

import pytest
from torch import nn

from faceter.cli.export_target import load, parse_arguments
from faceter.export.errors import ExportError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no-colon", "MODULE:CALLABLE"),
        ("models.py:Network", "Name the module as in an import: models:Network"),
        (
            "no_such_module:x",
            "'no_such_module' cannot be imported: there is none in .* or among the installed packages",
        ),
        ("torch.nn:NoSuchLayer", "has no 'NoSuchLayer'"),
        ("sys:path", "is a list, neither"),
        ("builtins:dict", "returned a dict, not a torch"),
        ("torch.nn:Linear", r"torch.nn:Linear cannot be called: missing .*'in_features'.*--argument NAME=VALUE"),
    ],
)
def test_an_invalid_target_is_refused(target: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        load(target)


def test_a_module_or_its_factory_is_loaded_with_arguments() -> None:
    assert isinstance(load("torch.nn:Identity"), nn.Identity)
    layer = load(
        "torch.nn:Conv2d", parse_arguments(["in_channels=3", "out_channels=4", "kernel_size=(3, 5)", "bias=false"])
    )
    assert isinstance(layer, nn.Conv2d)
    assert (layer.weight.shape, layer.bias) == ((4, 3, 3, 5), None)


def test_arguments_are_json_literals_or_text() -> None:
    texts = ["a=1", "b=[1, 2]", "c=null", "d=('x', 2)", "e=resnet", "f=true", "g=a=b"]
    assert parse_arguments(texts) == {
        "a": 1, "b": [1, 2], "c": None, "d": ("x", 2), "e": "resnet", "f": True, "g": "a=b"
    }  # fmt: skip
    with pytest.raises(ExportError, match="such as blocks=9, not 'blocks'"):
        parse_arguments(["blocks"])


def test_a_missing_package_of_the_module_is_named_with_the_command(folder: Path) -> None:
    (folder / "needs_vision.py").write_text("import absent_vision_package.ops\n")
    with pytest.raises(
        ExportError, match=r"needs the package 'absent_vision_package', which is not installed"
    ) as caught:
        load("needs_vision:Net")
    assert "-m pip install absent-vision-package" in str(caught.value)
    (folder / "needs_later.py").write_text("def build():\n    import cv2_absent\n")
    with pytest.raises(ExportError, match="needs_later:build cannot be made: it needs the package 'cv2_absent'"):
        load("needs_later:build")


def test_errors_of_the_users_own_code_are_reported_without_a_traceback(folder: Path) -> None:
    (folder / "with_a_typo.py").write_text("class Net(:\n")
    with pytest.raises(ExportError, match="'with_a_typo' cannot be imported: SyntaxError: invalid syntax"):
        load("with_a_typo:Net")
    (folder / "raises.py").write_text("def build():\n    raise ValueError('no weights here.')\n")
    with pytest.raises(ExportError, match="raises:build fails when it is called: ValueError: no weights here"):
        load("raises:build")


def test_a_state_dict_points_to_the_option_for_weights(folder: Path) -> None:
    (folder / "only_weights.py").write_text("import torch\ndef build():\n    return {'w': torch.ones(1)}\n")
    with pytest.raises(ExportError, match="It is a state dict: name the class, and give this file by --weights"):
        load("only_weights:build")
