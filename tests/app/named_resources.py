"""Datasets and models for requests, valid and invalid ones, uploaded by name."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from faceter.datasets.signals import signals_file
from tests.app.http.routes.test_quantizations import signal_classifier
from tests.app.uploads import LABELS, METADATA, add_dataset, add_model, archive, detection, image, images, npz
from tests.engines import graphs
from tests.workers.explanation import scenes

OTHER = {**METADATA, "task": "other", "labels": None}


def vectors(count: int, width: int, **more: Any) -> bytes:
    return npz(features=np.random.default_rng(count).normal(size=(count, width)).astype(np.float32), **more)


def labelled(*names: str) -> bytes:
    return vectors(12, 5, labels=np.arange(12) % len(names), classes=np.array(names))


def signals(length: int) -> bytes:
    return signals_file(np.random.default_rng(length).normal(size=(8, 1, length)))


def classifier_with_odd_tensors() -> bytes:
    """Return a classifier of images with tensors of many shapes and dtypes, few of which can be features."""
    return graphs.model(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["logits"]),
            helper.make_node("Gemm", ["flat", "one"], ["score"]),
            helper.make_node("ArgMax", ["logits"], ["winner"], axis=1),
            helper.make_node("Cast", ["logits"], ["rounded"], to=TensorProto.INT64),
            helper.make_node("Transpose", ["image"], ["turned"], perm=[1, 0, 2, 3]),
            helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
            helper.make_node("ReduceSum", ["flat", "first"], ["totals"], keepdims=0),
            helper.make_node("ReduceSum", ["flat", "last"], ["sums"], keepdims=0),
            helper.make_node("Mul", ["w", "w"], ["squares"]),
        ],
        {"image": (TensorProto.FLOAT, ["batch", 3, 8, 8])},
        {
            "logits": (TensorProto.FLOAT, ["batch", 3]),
            "score": (TensorProto.FLOAT, ["batch", 1]),
            "winner": (TensorProto.INT64, ["batch", 1]),
            "rounded": (TensorProto.INT64, ["batch", 3]),
            "turned": (TensorProto.FLOAT, [3, "batch", 8, 8]),
        },
        {
            "w": np.ones((192, 3), np.float32),
            "one": np.ones((192, 1), np.float32),
            "first": np.array([0]),
            "last": np.array([1]),
        },
    )


def with_if() -> bytes:
    """Return a model of images whose branch depends on the image."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(operator, ["flat"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 192])],
        )
        for name, operator in (("then", "Relu"), ("else", "Neg"))
    }
    return graphs.model(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("ReduceSum", ["image"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "zero"], ["bright"]),
            helper.make_node("If", ["bright"], ["logits"], **branches),
        ],
        {"image": (TensorProto.FLOAT, ["batch", 3, 8, 8])},
        {"logits": (TensorProto.FLOAT, ["batch", 192])},
        {"zero": np.array(0, np.float32)},
    )


def concepts(*names: str) -> bytes:
    """Return a concepts dataset of one image, half of which is the first concept."""
    label = io.BytesIO()
    Image.fromarray(np.repeat([[0, 1]], 6, axis=1).repeat(10, axis=0).astype(np.uint8)).save(label, "PNG")
    return archive(
        {
            "images/a.png": image(),
            "labels/object/a.png": label.getvalue(),
            "concepts.json": json.dumps({"object": names}).encode(),
        }
    )


def pairs(*sentences: str, label: str = "neutral") -> bytes:
    """Return pairs of equal sentences."""
    lines = [json.dumps({"premise": words, "hypothesis": words, "label": label}) for words in sentences]
    return archive({"pairs.jsonl": "\n".join(lines).encode(), "vocab.txt": b"<pad>\n<unk>\ndog"})


def content_of(graph: onnx.ModelProto) -> bytes:
    return bytes(graph.SerializeToString())


DATASETS: dict[str, tuple[Callable[[], bytes], str]] = {
    "real": (lambda: vectors(12, 5), "features"),
    "made": (lambda: vectors(20, 5), "features"),
    "wide": (lambda: vectors(12, 6), "features"),
    "few": (lambda: vectors(5, 5), "features"),
    "pets": (lambda: labelled("cat", "dog"), "features"),
    "birds": (lambda: labelled("emu", "owl"), "features"),
    "cats": (lambda: labelled("cat"), "features"),
    "images": (lambda: images(LABELS, each=3), "images"),
    "plain images": (lambda: images(each=8), "images"),
    "boxes": (lambda: detection(["cat"]), "detection"),
    "signals": (lambda: signals(64), "signals"),
    "longer": (lambda: signals(65), "signals"),
    "streets": (lambda: scenes.scenes(3), "concepts"),
    "colored images": (lambda: images(list(scenes.COLORS)), "images"),
    "colored boxes": (lambda: detection(list(scenes.COLORS)), "detection"),
    "Red things": (lambda: concepts("Red", "tree"), "concepts"),
    "beats": (lambda: scenes.beats(4), "signals"),
    "longer beats": (lambda: scenes.beats(4, 80), "signals"),
    "starts": (lambda: scenes.beats(4, names=("start", "dip")), "signals"),
    "sentences": (lambda: scenes.sentences(9), "text_pairs"),
    "plain sentences": (lambda: scenes.sentences(9, vectors=False), "text_pairs"),
    "long sentences": (lambda: pairs("a dog", " ".join(["dog"] * 9), " ".join(["cat"] * 10)), "text_pairs"),
    "other sentences": (lambda: pairs("a dog", label="funny"), "text_pairs"),
}

MODELS: dict[str, tuple[Callable[[], bytes], object]] = {
    "net": (graphs.classifier, METADATA),
    "bare": (graphs.classifier, None),
    "for four": (lambda: graphs.classifier(batch=4), METADATA),
    "odd": (classifier_with_odd_tensors, OTHER),
    "with if": (with_if, OTHER),
    "detector": (graphs.classifier, {**OTHER, "task": "object_detection"}),
    "translator": (graphs.classifier, {**OTHER, "task": "image_translation"}),
    "one class": (classifier_with_odd_tensors, {**OTHER, "output": "score"}),
    "numbers": (classifier_with_odd_tensors, {**OTHER, "output": "rounded"}),
    "of rank 4": (classifier_with_odd_tensors, {**OTHER, "output": "turned"}),
    "signal net": (lambda: signal_classifier(64), {"task": "signal_classification"}),
    "any signal net": (lambda: signal_classifier("length"), {"task": "signal_classification"}),
    "color net": (lambda: content_of(scenes.color_network()), scenes.color_metadata().model_dump(mode="json")),
    "peak net": (lambda: content_of(scenes.peak_network()), None),
    "word net": (lambda: content_of(scenes.word_network()), scenes.word_metadata().model_dump(mode="json")),
}


class NamedResources:
    """Uploads datasets and models by name on first use; `@name` in a request stands for the id."""

    def __init__(self, api: httpx.Client) -> None:
        self._api = api
        self._ids: dict[str, str] = {}

    def resolve(self, payload: dict[str, Any]) -> dict[str, Any]:
        resolved: dict[str, Any] = self._resolve(payload)
        return resolved

    def id(self, name: str) -> str:
        if name not in self._ids:
            if name in DATASETS:
                content, kind = DATASETS[name]
                self._ids[name] = add_dataset(self._api, content(), kind)["id"]
            else:
                content, metadata = MODELS[name]
                self._ids[name] = add_model(self._api, content(), metadata=metadata)["id"]
        return self._ids[name]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        return self.id(value[1:]) if isinstance(value, str) and value.startswith("@") else value
