"""The student: a trainable quantized network, a float network with a learned quantizer on every quantized tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
import onnx
from torch import Tensor, nn

from faceter.graphs.dynamic_batch import with_dynamic_batch
from faceter.graphs.quantization_plan import QuantizationPlan, bias_quantizers
from faceter.graphs.view import GraphView, node_name
from workers.onnx_module import OnnxModule, Replacement
from workers.quantization.tuning.student.learned_quantizer import LearnedQuantizer, rounded_bias


def _without_redundant_relus(model: onnx.ModelProto, plan: QuantizationPlan) -> onnx.ModelProto:
    """Return the model without each ReLU whose quantizer clamps at 0 already."""
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    quantizers = {name: plan.activations[site.name] for site in plan.sites.activations for name in site.tensors}
    for node in pruned.graph.node:
        quantizer = quantizers.get(node.output[0])
        if node.op_type == "Relu" and quantizer is not None and np.all(quantizer.zero_point == quantizer.qmin):
            node.op_type = "Identity"
    return pruned


class QuantizedNetwork(nn.Module):
    """The quantized network Q of a plan, simulated in float, with gradients for weights, biases and steps.

    Weights, activations and biases are rounded as in the exported network.

    Args:
        plan: Initial weights and quantizers; not changed.
        learned_steps: Whether steps are trained (LSQ), or weights and biases alone (straight-through).
    """

    def __init__(self, plan: QuantizationPlan, *, learned_steps: bool = True) -> None:
        super().__init__()
        self._plan = plan
        self.network = OnnxModule(_without_redundant_relus(with_dynamic_batch(plan.model), plan))
        view = GraphView(plan.model)
        self._weights = {
            name: LearnedQuantizer(quantizer, len(view.tensor(name).dims), learned=learned_steps)
            for name, quantizer in plan.weights.items()
        }
        self._activations = {
            name: LearnedQuantizer(quantizer, 0, learned=learned_steps) for name, quantizer in plan.activations.items()
        }
        self._replace: dict[str, Replacement] = dict(self._weights)
        for site in plan.sites.activations:
            if site.name in self._activations:
                self._replace.update(dict.fromkeys(site.tensors, self._activations[site.name]))
        self._biases = self._bias_roundings(plan, view)
        self._replace.update(self._biases)
        self.weight_quantizers = nn.ModuleList(self._weights.values())
        self.activation_quantizers = nn.ModuleList(self._activations.values())

    def _bias_roundings(self, plan: QuantizationPlan, view: GraphView) -> dict[str, Replacement]:
        """Return the rounding function of every bias that integer kernels add, by the bias's name."""
        nodes = {node_name(node): node for node in view.graph.node}
        roundings: dict[str, Replacement] = {}
        for item in bias_quantizers(plan):
            node = nodes[item.layer]
            site = plan.sites.activation(node.input[0])
            if site is not None and len(view.consumers[item.bias]) == 1:
                source, weight = self._activations[site.name], self._weights[node.input[1]]
                roundings[item.bias] = partial(rounded_bias, source=source, weight=weight)
        return roundings

    def forward(
        self,
        inputs: Mapping[str, Tensor] | Tensor,
        *,
        watch: Collection[str] = (),
        outputs: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run the quantized network; see :meth:`OnnxModule.forward`. Watched tensors are returned quantized."""
        tensors: dict[str, Tensor] = self.network(inputs, watch=watch, outputs=outputs, replace=self._replace)
        return tensors

    def bias(self, name: str) -> Tensor:
        """Return a bias by name, rounded where integer kernels add it."""
        value = self.network.parameter(name)
        return self._biases[name](value) if name in self._biases else value

    def weights_and_biases(self) -> list[nn.Parameter]:
        """Return weights, biases and all other trainable values of the float network."""
        return list(self.network.trainable().values())

    def weight_quantizers_by_name(self) -> dict[str, LearnedQuantizer]:
        """Return the quantizer of each weight, by the weight's name."""
        return dict(self._weights)

    def weight_steps(self) -> list[nn.Parameter]:
        """Return the steps of the weights' quantizers."""
        return [quantizer.step for quantizer in self._weights.values()]

    def activation_steps(self) -> list[nn.Parameter]:
        """Return the steps of the activations' quantizers."""
        return [quantizer.step for quantizer in self._activations.values()]

    def model(self) -> onnx.ModelProto:
        """Return the float model with the tuned weights and biases."""
        model = onnx.ModelProto()
        model.CopyFrom(self._plan.model)
        view = GraphView(model)
        for name, parameter in self.network.trainable().items():
            view.replace_initializer(name, parameter.detach().cpu().numpy())
        return model

    def plan(self) -> QuantizationPlan:
        """Return the current plan: the model with tuned values, and the quantizers with tuned steps."""
        return QuantizationPlan(
            self.model(),
            {name: learned.quantizer() for name, learned in self._weights.items()},
            {name: learned.quantizer() for name, learned in self._activations.items()},
            self._plan.sites,
        )
