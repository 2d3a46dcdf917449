"""The module to export: imported, and made by its constructor."""

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceter.export.errors import ExportError

if TYPE_CHECKING:
    import torch

_PACKAGES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "pytorch_lightning": "pytorch-lightning",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
}
"""Packages whose name differs from the module's."""


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Return keyword arguments from ``NAME=VALUE`` each; a value is JSON or a Python literal, else text.

    Raises:
        ExportError: If one has another form.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.isidentifier():
            raise ExportError(f"--argument takes a name and a value, such as blocks=9, not {text!r}.")
        arguments[name] = _value(value)
    return arguments


def load(target: str, arguments: Mapping[str, Any] | None = None) -> "torch.nn.Module":
    """Return the torch module that ``MODULE:CALLABLE`` names or returns.

    Args:
        target: What to import; the current folder comes first on the path.
        arguments: Keyword arguments of the callable.

    Raises:
        ExportError: If it cannot be imported or made, or is no module.
    """
    import torch

    module_name, separator, attribute = target.partition(":")
    if not separator or not module_name or not attribute:
        raise ExportError(f"{target!r} is not of the form MODULE:CALLABLE, such as my_models:build.")
    if module_name.endswith(".py"):
        raise ExportError(f"Name the module as in an import: {module_name.removesuffix('.py')}:{attribute}.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    made: Any = _imported(module_name)
    try:
        for name in attribute.split("."):
            made = getattr(made, name)
    except AttributeError as error:
        raise ExportError(f"Module {module_name!r} has no {attribute!r}.") from error
    if not isinstance(made, torch.nn.Module):
        if not callable(made):
            raise ExportError(
                f"{target} is a {type(made).__name__}, neither a torch module nor a callable that returns one."
            )
        made = _called(target, made, arguments or {})
    elif arguments:
        raise ExportError(f"{target} is a module already; --argument is for a class or function.")
    if not isinstance(made, torch.nn.Module):
        hint = " It is a state dict: name the class, and give this file by --weights." if _is_weights(made) else ""
        raise ExportError(f"{target} returned a {type(made).__name__}, not a torch.nn.Module.{hint}")
    return made


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ExportError(
                f"Module {name!r} cannot be imported: there is none in {Path.cwd()} or among the installed packages. "
                "Run the command in the folder that holds it, or install the package."
            ) from error
        raise _missing(f"Module {name!r} cannot be imported", missing) from error
    except Exception as error:
        raise ExportError(f"Module {name!r} cannot be imported: {_shown(error)}.") from error


def _called(target: str, function: Any, arguments: Mapping[str, Any]) -> Any:
    try:
        inspect.signature(function).bind(**arguments)
    except ValueError:
        pass  # a built-in without a signature
    except TypeError as error:
        raise ExportError(
            f"{target} cannot be called: {error}. Its arguments are {inspect.signature(function)}; "
            "give them as --argument NAME=VALUE."
        ) from error
    try:
        return function(**arguments)
    except ModuleNotFoundError as error:
        raise _missing(f"{target} cannot be made", error.name or "") from error
    except Exception as error:
        raise ExportError(f"{target} fails when it is called: {_shown(error)}.") from error


def _missing(what: str, module: str) -> ExportError:
    package = module.split(".")[0]
    name = _PACKAGES.get(package, package.replace("_", "-"))
    return ExportError(
        f"{what}: it needs the package {package!r}, which is not installed here. Install it beside Faceter "
        f"({sys.executable} -m pip install {name}), or run the export in the environment that has it."
    )


def _shown(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _is_weights(value: object) -> bool:
    import torch

    return isinstance(value, Mapping) and any(isinstance(item, torch.Tensor) for item in value.values())
