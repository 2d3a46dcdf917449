"""Conversion of a quantization plan to and from a checkpoint state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantizer import Array, Quantizer
from workers.jobs.checkpoints import State


def plan_state(plan: QuantizationPlan) -> State:
    """Return a plan as a checkpoint state."""
    return {
        "model": torch.frombuffer(bytearray(plan.model.SerializeToString(deterministic=True)), dtype=torch.uint8),
        "weights": _quantizers_state(plan.weights),
        "activations": _quantizers_state(plan.activations),
    }


def plan_from_state(state: State) -> QuantizationPlan:
    """Return the plan of :func:`plan_state`."""
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
