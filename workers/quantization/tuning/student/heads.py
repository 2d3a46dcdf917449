"""The tensors by which the float and the quantized network are compared: outputs (heads) and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from faceter.contracts.models import ModelMetadata
from faceter.graphs.describe import output_specs
from faceter.graphs.quantization_sites import QuantizationSites
from faceter.graphs.view import GraphView
from faceter.vision.metadata import class_output

_RESHAPING = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Heads:
    """The outputs by which two networks are compared.

    Args:
        logits: The tensor of class scores before any softmax, [N, K]; None where the network does not classify.
        others: Every other float output; the tensors that it concatenates in its place.
    """

    logits: str | None
    others: tuple[str, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The logits, if any, and the others."""
        return self.others if self.logits is None else (self.logits, *self.others)


def find_heads(model: onnx.ModelProto, metadata: ModelMetadata) -> Heads:
    """Return the outputs to compare; the input of a last softmax or ArgMax stands for its output.

    A concatenated output is split: of a detector's boxes, objectness and class scores in one tensor, the errors of the
    largest would hide those of the others.

    Args:
        model: The canonical float model.
        metadata: Names the output with the class scores, and the task.
    """
    view = GraphView(model)
    names = []
    for spec in output_specs(model):
        producer = view.producer.get(spec.name)
        if spec.dtype.startswith("float"):
            names.append(spec.name)
        elif producer is not None and producer.op_type == "ArgMax":
            names.append(producer.input[0])
    names = list(dict.fromkeys(names))
    scores = class_output(metadata, output_specs(model)).name
    if not metadata.task.classifies or scores not in names:
        return Heads(None, _split_concatenations(view, names))
    producer = view.producer.get(scores)
    logits = producer.input[0] if producer is not None and producer.op_type in ("Softmax", "LogSoftmax") else scores
    return Heads(logits, _split_concatenations(view, [name for name in names if name not in (scores, logits)]))


def _split_concatenations(view: GraphView, names: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors, each concatenation of computed tensors replaced by those."""
    split: list[str] = []
    for name in names:
        producer = view.producer.get(_before_reshaping(view, name))
        if producer is not None and producer.op_type == "Concat" and all(x in view.producer for x in producer.input):
            split += _split_concatenations(view, producer.input)
        else:
            split.append(name)
    return tuple(dict.fromkeys(split))


def _before_reshaping(view: GraphView, name: str) -> str:
    """Return the tensor before any operators that only reorder its values."""
    while (producer := view.producer.get(name)) is not None and producer.op_type in _RESHAPING:
        name = producer.input[0]
    return name


def feature_tensors(model: onnx.ModelProto, sites: QuantizationSites) -> list[str]:
    """Return the inner tensors for the feature loss, in graph order.

    These are the residual sums, after their ReLU, if there are at least two; else every activation that enters a
    convolution or matrix product.
    """
    view = GraphView(model)
    sums = []
    for site in sites.activations:
        for name in site.tensors:
            producer = view.producer.get(name)
            if producer is not None and producer.op_type in ("Relu", "Clip"):
                producer = view.producer.get(producer.input[0])
            if producer is not None and producer.op_type == "Add":
                sums.append(name)
    if len(sums) > 1:
        return sums
    return [name for site in sites.activations if site.role == "full" for name in site.tensors]
