"""Simulated quantization: a quantized network in float, with every quantized tensor rounded to its codes and back.

Methods measure and tune this network. ONNX Runtime computes the same in integers; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan, bias_quantizers, fit_biases
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization.affine import fake_quantize
from workers.quantization.kernel_rounding import with_kernel_rounding
from workers.quantization.observation import as_tensors


class SimulatedNetwork:
    """The quantized network of a plan, in float.

    Args:
        plan: Weights and biases are quantized once, here.
    """

    def __init__(self, plan: QuantizationPlan) -> None:
        self.plan = fit_biases(plan)
        self.network = OnnxModule(self.plan.model)
        self._replacements = with_kernel_rounding(self.plan, replacements(self.plan, biases=True))

    @torch.inference_mode()
    def run(self, batch: Batch, watch: Collection[str] = ()) -> dict[str, np.ndarray]:
        """Return the outputs and the watched tensors, by name.

        Args:
            watch: Further tensors; a quantized one is returned after fake quantization, and so is the result of a
                convolution or addition whose ReLU is quantized with it.
        """
        tensors = self.network(as_tensors(batch), watch=watch, replace=self._replacements)
        return {name: values.numpy() for name, values in tensors.items()}


def replacements(plan: QuantizationPlan, *, biases: bool = False) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the functions with which :class:`OnnxModule` computes a plan's quantized network, by tensor.

    Args:
        biases: Whether biases are rounded to their int32 codes too.
    """
    view = GraphView(plan.model)
    constants: dict[str, np.ndarray] = {}
    for name, quantizer in plan.weights.items():
        constants[name] = quantizer.fake(_constant(view, name))
    for item in bias_quantizers(plan) if biases else []:
        if len(view.consumers[item.bias]) == 1:
            constants[item.bias] = item.fake(_constant(view, item.bias))
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        name: _always(torch.from_numpy(np.ascontiguousarray(value))) for name, value in constants.items()
    }
    for name, quantizer in plan.replacements().items():
        if name not in plan.weights:
            functions[name] = _fake(quantizer)
    return functions


def _constant(view: GraphView, name: str) -> np.ndarray:
    value = view.constant(name)
    if value is None:
        raise KeyError(name)
    return value


def _always(value: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: value.to(x.device)


def _fake(quantizer: Quantizer) -> Callable[[Tensor], Tensor]:
    return lambda x: fake_quantize(x, quantizer)
