"""Weights from a file: a state dict saved by torch, or safetensors. No code in the file is ever run."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceter.export.errors import ExportError

if TYPE_CHECKING:
    import torch

NESTS = (
    "params_ema", "ema_state_dict", "model_ema", "state_dict", "model_state_dict", "model_state", "model", "net",
    "network", "generator", "netG", "G", "params", "weights", "module",
)  # fmt: skip
"""Keys under which checkpoints hold a state dict, averaged weights first."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "generator.")
"""Prefixes that wrappers add to every name: DataParallel, torch.compile, Lightning modules."""

_COUNTER = "num_batches_tracked"
_SHOWN = 5


def load_weights(module: "torch.nn.Module", path: Path, *, key: str | None = None, strict: bool = True) -> list[str]:
    """Load weights into a module.

    Args:
        module: Its parameters and buffers are set.
        path: A file that torch.save wrote, read with ``weights_only``, or safetensors.
        key: Where the state dict is in the file, such as ``models.generator``; by default it is looked for.
        strict: Whether names that are missing or unexpected are an error.

    Returns:
        What a reader should know: prefixes removed, names left out.

    Raises:
        ExportError: If the file cannot be read or its weights do not fit the module.
    """
    weights, place = _state_dict(_read(path), path, key)
    own = module.state_dict()
    weights, prefix = _without_prefix(weights, own)
    missing = [name for name in own if name not in weights and not name.endswith(_COUNTER)]
    unexpected = [name for name in weights if name not in own]
    if own and not set(own) & set(weights):
        raise ExportError(
            f"{path} holds no weight of this module: it has {_listed(list(weights))}; the module needs "
            f"{_listed(list(own))}. Name another class, or the place in the file by --weights-key."
        )
    shapes = [
        f"{name} {list(weights[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if shapes:
        raise ExportError(
            f"{path} holds weights of other shapes: {_listed(shapes)}. Make the module with the sizes that it was "
            "trained with, by --argument NAME=VALUE."
        )
    parts = [f"missing: {_listed(missing)}"] * bool(missing) + [f"unexpected: {_listed(unexpected)}"] * bool(unexpected)
    if parts and strict:
        raise ExportError(
            f"The weights in {path} do not fit the module ({'; '.join(parts)}). Make it with other arguments "
            "(--argument NAME=VALUE), or load what fits by --no-strict."
        )
    module.load_state_dict(weights, strict=False)
    notes = [f"weights under {place!r}"] * bool(place) + [f"prefix {prefix!r} removed"] * bool(prefix)
    return notes + parts


def _read(path: Path) -> Any:
    import torch

    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix == ".safetensors" or (
        start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size
    ):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ExportError(f"{path} is no safetensors file, or damaged: {error}.") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _pickled(path, str(error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        if "TorchScript" in str(error):
            raise ExportError(
                f"{path} is a TorchScript archive. Save its weights with torch.save(torch.jit.load(path).state_dict(), "
                "new_path), and give that file and the class."
            ) from error
        raise ExportError(
            f"{path} cannot be read as weights: it is damaged, or no file that torch.save wrote."
        ) from error


def _pickled(path: Path, message: str) -> ExportError:
    found = re.search(r"GLOBAL ([\w.]+) was not an allowed global|Unsupported class ([\w.]+)", message)
    if found is None:
        return ExportError(f"{path} cannot be read as weights: it is damaged, or no file that torch.save wrote.")
    name = found.group(1) or found.group(2)
    return ExportError(
        f"{path} holds more than weights: it names {name!r}, as when a whole module or its options are saved. "
        "Loading it would run code from the file, so it is not loaded. If you trust it, save the weights alone "
        f"where {name.split('.')[0]!r} can be imported: torch.save(torch.load({path.name!r}, weights_only=False)"
        ".state_dict(), 'weights.pth') for a module, or its state dict's entry for a checkpoint; then give "
        "--weights weights.pth."
    )


def _state_dict(content: Any, path: Path, key: str | None) -> tuple[dict[str, "torch.Tensor"], str]:
    """Return the tensors by name, and where in the file they are, empty for the file itself."""
    if key is not None:
        for part in key.split("."):
            if not isinstance(content, Mapping) or part not in content:
                there = _listed([str(name) for name in content]) if isinstance(content, Mapping) else "no names"
                raise ExportError(f"{path} has no {part!r} for --weights-key; it has {there}.")
            content = content[part]
        if not _is_state_dict(content):
            raise ExportError(f"{path} has no state dict under {key!r}, but a {type(content).__name__}.")
        return dict(content), key
    place: list[str] = []
    while not _is_state_dict(content):
        nest = None
        if isinstance(content, Mapping):
            nest = next((name for name in NESTS if isinstance(content.get(name), Mapping)), None)
        if nest is None:
            there = _listed([str(name) for name in content]) if isinstance(content, Mapping) else type(content).__name__
            raise ExportError(
                f"{path} has no state dict that can be found: it holds {there}. Name it by --weights-key."
            )
        content = content[nest]
        place.append(nest)
    return dict(content), ".".join(place)


def _is_state_dict(value: Any) -> bool:
    import torch

    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(item, torch.Tensor) for name, item in value.items())
    )


def _without_prefix(
    weights: dict[str, "torch.Tensor"], own: Mapping[str, object]
) -> tuple[dict[str, "torch.Tensor"], str]:
    """Return the weights without prefixes that every name has and that the module's names do not have."""
    removed = ""
    while not set(weights) & set(own):
        prefix = next((item for item in PREFIXES if all(name.startswith(item) for name in weights)), None)
        if prefix is None:
            break
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
        removed += prefix
    return weights, removed


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "nothing"
