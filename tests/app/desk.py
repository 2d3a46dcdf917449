"""Explanations of several things as a worker would have made them, and requests to analyse them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.base import new_id
from faceter.contracts.explanations import ClassWeight, LayerSummary
from faceter.contracts.models import DetectionDecoding, Task
from faceter.explanations.masks import MASKS, Masks, masks_file
from faceter.store.library import Library
from tests.app.explained import add_explained, masks_of, unit
from tests.app.shelf import Shelf, content_of
from tests.workers.explanation import scenes

SAMPLES: Final = 4

DETECTS: Final = {"task": Task.OBJECT_DETECTION, "detection": DetectionDecoding(head="direct", boxes="logits")}
"""What a model's metadata says if it is a detector whose boxes can be read."""


@dataclass(frozen=True)
class Subject:
    """What is explained."""

    model: str
    """Its name on the shelf."""
    dataset: str
    """The dataset's."""
    layer: str
    """The layer."""
    shape: list[int]
    """Of the layer, for one sample."""
    concepts: tuple[str, str]
    """Some of the concepts."""
    labels: tuple[str, ...]
    """Of the model."""
    labelled: bool
    """Whether it is known of each sample what the model should say, and says."""


ABOUT: Final = {
    "images": Subject(
        "color net", "streets", "colors", [4, 24, 24], ("car", "tree"), ("car", "tree", "sky"), labelled=False
    ),
    "text": Subject(
        "word net",
        "sentences",
        "hidden",
        [3],
        ("hyp:tok:nobody", "pre:tok:dog"),
        ("entailment", "neutral", "contradiction"),
        labelled=True,
    ),
    "signals": Subject("peak net", "beats", "peaks", [2, 64], ("wave", "dip"), (), labelled=False),
}


class Desk:
    """Explanations of what is on the shelf, as a worker would have made them, and requests to analyse them."""

    def __init__(self, api: httpx.Client, library: Library) -> None:
        self.api, self.library, self.shelf = api, library, Shelf(api)

    def explained(
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
        """Keep an explanation, and return its id.

        Args:
            about: What the samples are.
            metadata: What the model's metadata says otherwise.
            formulas: Whether units have any.
            weights: Whether units have weights to classes.
            labelled: Whether it is known where the model is right, if not as usual.
            cut: Whether sentences are cut off.
            dataset: Another dataset's name on the shelf.
        """
        of = ABOUT[about]
        model = self.library.models.get(self.shelf.id(of.model))
        if metadata is not None:
            said = model.metadata.model_copy(update=dict(metadata))
            self.library.models.replace(model.model_copy(update={"metadata": said}))
        with_classes = [ClassWeight(label=label, weight=0.5 if weights else None) for label in of.labels]
        units = [
            unit(number, *((of.concepts[number],) if formulas else ()), layer=of.layer, classes=with_classes)
            for number in range(2)
        ]
        classes = np.arange(SAMPLES) % 2 if (of.labelled if labelled is None else labelled) else None
        masks = Masks([masks_of(2, SAMPLES, 2, ())], classes, classes)
        layer = LayerSummary(layer=of.layer, shape=of.shape, units=2, explained=2 if formulas else 0)
        return add_explained(
            self.library,
            units,
            files={MASKS: masks_file(masks)},
            model_id=model.id,
            about=about,
            settings={"dataset_id": self.shelf.id(dataset or of.dataset), "cut_sentences": cut},
            layers=[layer],
        ).id

    def model(self, graph: onnx.ModelProto, **changes: Any) -> str:
        """Keep a model that says of itself what the explained one of images does, and return its id."""
        blob = self.library.store_blob(content_of(graph))
        like = self.library.models.get(self.shelf.id("color net"))
        made = {"id": new_id("mdl"), "sha256": blob.sha256, "bytes": blob.bytes, **changes}
        return self.library.add(like.model_copy(update=made)).id

    def ask(self, explanation: str, kind: str, said: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Ask for an analysis; ids of what is on the shelf go by their names with @ before."""
        request = self.shelf.request({"kind": kind, **said})
        return self.api.post(f"/v1/explanations/{explanation}/analyses", json=request, headers=headers)


def with_layer(name: str = "colors", units: int = 4, after: str = "Relu") -> onnx.ModelProto:
    """Return a model of images with a layer of a name and some units."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["difference"], kernel_shape=[1, 1]),
        helper.make_node(after, ["difference"], [name]),
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    return _of_images(nodes, units, {})


def with_codes() -> onnx.ModelProto:
    """Return a model of images in which only codes are left of the layer of colours."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["difference"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["difference", "scale", "zero"], ["colors/q"]),
        helper.make_node("MaxPool", ["colors/q"], ["pooled/q"], kernel_shape=[2, 2]),
        helper.make_node("DequantizeLinear", ["pooled/q", "scale", "zero"], ["pooled"]),
        helper.make_node("GlobalAveragePool", ["pooled"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    return _of_images(nodes, 4, {"scale": np.array(0.01, np.float32), "zero": np.array(0, np.uint8)})


def _of_images(nodes: list[onnx.NodeProto], units: int, constants: Mapping[str, Any]) -> onnx.ModelProto:
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
