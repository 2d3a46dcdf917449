"""The state of a run as bytes: tensors, numbers and text in nested dicts and lists, nothing that runs code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.qdq import QuantizationPlan
from faceter.graphs.quantizer import Array, Quantizer

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


def plan_state(plan: QuantizationPlan) -> State:
    """Return a quantized network as a state."""
    return {
        "model": torch.frombuffer(bytearray(plan.model.SerializeToString(deterministic=True)), dtype=torch.uint8),
        "weights": _quantizers_state(plan.weights),
        "activations": _quantizers_state(plan.activations),
    }


def plan_of(state: State) -> QuantizationPlan:
    """Return the quantized network of :func:`plan_state`."""
    model = onnx.load_from_string(state["model"].numpy().tobytes())
    return QuantizationPlan(model, _quantizers(state["weights"]), _quantizers(state["activations"]))


def _quantizers_state(quantizers: Mapping[str, Quantizer]) -> State:
    return {
        name: {
            "scale": torch.from_numpy(np.array(item.scale)),
            "zero_point": torch.from_numpy(np.array(item.zero_point)),
            "bits": item.bits,
            "axis": item.axis,
            "channel_bits": None if item.channel_bits is None else torch.from_numpy(np.array(item.channel_bits)),
            "signed": item.signed,
        }
        for name, item in quantizers.items()
    }


def _quantizers(state: State) -> dict[str, Quantizer]:
    def array(value: torch.Tensor) -> Array:
        return np.asarray(value.numpy())

    return {
        name: Quantizer(
            scale=array(item["scale"]),
            zero_point=array(item["zero_point"]),
            bits=item["bits"],
            axis=item["axis"],
            channel_bits=None if item["channel_bits"] is None else array(item["channel_bits"]),
            signed=item["signed"],
        )
        for name, item in state.items()
    }
