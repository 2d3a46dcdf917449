"""Explanations of images, text and signals, stored as by a worker, and requests to analyse them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.base import new_id
from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.explanations import LayerSummary
from faceter.contracts.models import Task
from faceter.contracts.units import ClassWeight
from faceter.explanations.masks import MASKS, ExplanationMasks, encode_masks
from faceter.store.library import Library
from tests.app.explanation_records import add_explanation, random_masks, unit
from tests.app.named_resources import NamedResources, content_of
from tests.workers.explanation import scenes

SAMPLES: Final = 4

DETECTS: Final = {"task": Task.OBJECT_DETECTION, "detection": DetectionDecoding(head="direct", boxes="logits")}
"""Changes of a model's metadata that make it a detector with box decoding."""


@dataclass(frozen=True)
class ProbeSetup:
    """A model, its probe dataset and the explained layer."""

    model: str
    """Its name in `NamedResources`."""
    dataset: str
    """Name of the dataset."""
    layer: str
    """The explained layer."""
    shape: list[int]
    """Shape of the layer for one sample."""
    concepts: tuple[str, str]
    """Two concepts of the dataset."""
    labels: tuple[str, ...]
    """Labels of the model."""
    labelled: bool
    """Whether labels and predictions of the samples are known."""


SETUPS: Final = {
    "images": ProbeSetup(
        "color net", "streets", "colors", [4, 24, 24], ("car", "tree"), ("car", "tree", "sky"), labelled=False
    ),
    "text": ProbeSetup(
        "word net",
        "sentences",
        "hidden",
        [3],
        ("hyp:tok:nobody", "pre:tok:dog"),
        ("entailment", "neutral", "contradiction"),
        labelled=True,
    ),
    "signals": ProbeSetup("peak net", "beats", "peaks", [2, 64], ("wave", "dip"), (), labelled=False),
}


class AnalysisFixtures:
    """Explanations of what is in `NamedResources`, as a worker would have made them, and requests to analyse them."""

    def __init__(self, api: httpx.Client, library: Library) -> None:
        self.api, self.library, self.resources = api, library, NamedResources(api)

    def add_explanation(
        self,
        about: str = "images",
        *,
        metadata: Mapping[str, Any] | None = None,
        formulas: bool = True,
        weights: bool = True,
        labelled: bool | None = None,
        cut: bool = False,
        dataset: str | None = None,
    ) -> str:
        """Store an explanation, and return its id.

        Args:
            about: Type of the samples.
            metadata: Changes of the model's metadata.
            formulas: Whether units have formulas.
            weights: Whether units have weights to classes.
            labelled: Whether labels and predictions are known; as in the setup by default.
            cut: Whether sentences are truncated.
            dataset: Another dataset's name in `NamedResources`.
        """
        setup = SETUPS[about]
        model = self.library.models.get(self.resources.id(setup.model))
        if metadata is not None:
            changed = model.metadata.model_copy(update=dict(metadata))
            self.library.models.replace(model.model_copy(update={"metadata": changed}))
        with_classes = [ClassWeight(label=label, weight=0.5 if weights else None) for label in setup.labels]
        units = [
            unit(number, *((setup.concepts[number],) if formulas else ()), layer=setup.layer, classes=with_classes)
            for number in range(2)
        ]
        classes = np.arange(SAMPLES) % 2 if (setup.labelled if labelled is None else labelled) else None
        masks = ExplanationMasks([random_masks(2, SAMPLES, 2, ())], classes, classes)
        layer = LayerSummary(layer=setup.layer, shape=setup.shape, units=2, explained=2 if formulas else 0)
        return add_explanation(
            self.library,
            units,
            files={MASKS: encode_masks(masks)},
            model_id=model.id,
            about=about,
            settings={"dataset_id": self.resources.id(dataset or setup.dataset), "cut_sentences": cut},
            layers=[layer],
        ).id

    def add_model(self, graph: onnx.ModelProto, **changes: Any) -> str:
        """Store a model with the metadata of the explained one of images, and return its id."""
        blob = self.library.store_blob(content_of(graph))
        template = self.library.models.get(self.resources.id("color net"))
        fields = {"id": new_id("mdl"), "sha256": blob.sha256, "bytes": blob.bytes, **changes}
        return self.library.add(template.model_copy(update=fields)).id

    def post(self, explanation: str, kind: str, payload: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Request an analysis; ids of resources in `NamedResources` are given as `@name`."""
        request = self.resources.resolve({"kind": kind, **payload})
        return self.api.post(f"/v1/explanations/{explanation}/analyses", json=request, headers=headers)


def with_layer(name: str = "colors", units: int = 4, after: str = "Relu") -> onnx.ModelProto:
    """Return a model of images with a layer of that name and number of units."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["difference"], kernel_shape=[1, 1]),
        helper.make_node(after, ["difference"], [name]),
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    return _image_model(nodes, units, {})


def with_codes() -> onnx.ModelProto:
    """Return a model of images with only integer codes of the layer `colors`."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["difference"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["difference", "scale", "zero"], ["colors/q"]),
        helper.make_node("MaxPool", ["colors/q"], ["pooled/q"], kernel_shape=[2, 2]),
        helper.make_node("DequantizeLinear", ["pooled/q", "scale", "zero"], ["pooled"]),
        helper.make_node("GlobalAveragePool", ["pooled"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    return _image_model(nodes, 4, {"scale": np.array(0.01, np.float32), "zero": np.array(0, np.uint8)})


def _image_model(nodes: list[onnx.NodeProto], units: int, constants: Mapping[str, Any]) -> onnx.ModelProto:
    weight = np.ones((units, 3, 1, 1), np.float32)
    size: list[str | int | None] = ["n", 3, scenes.SIDE, scenes.SIDE]
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", units])],
        [numpy_helper.from_array(value, name) for name, value in {"weight": weight, **constants}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
