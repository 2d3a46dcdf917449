"""The state of a run as bytes: tensors, numbers and text in nested dicts and lists, loaded without running code."""

from __future__ import annotations

import io
from typing import Any

import torch

from faceter.contracts.errors import FaceterError, ProblemKind

State = dict[str, Any]


def dump(state: State) -> bytes:
    """Return a state as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load(content: bytes) -> State:
    """Return the state of :func:`dump`, on the CPU.

    Raises:
        FaceterError: ``INTERNAL_ERROR`` if the bytes are not a checkpoint.
    """
    try:
        state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise FaceterError(ProblemKind.INTERNAL_ERROR, f"The checkpoint cannot be read: {error}.") from error
    return state


def frozen(state: Any) -> Any:
    """Return a copy of a state that later steps do not change."""
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {key: frozen(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [frozen(value) for value in state]
    return state
