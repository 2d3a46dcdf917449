"""Small ONNX models whose units detect known concepts, and probe datasets for them."""

import io
import json
import zipfile
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing

SIDE = 48
COLORS = {"car": (220, 30, 30), "tree": (30, 160, 40), "sky": (60, 110, 230)}
"""Colour of each object."""

PREPROCESSING = Preprocessing(size=[SIDE, SIDE])


def color_network() -> onnx.ModelProto:
    """Return a classifier with three units that fire at red, green and blue pixels, and one that never fires."""
    weight = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1]], np.float32).reshape(4, 3, 1, 1)
    classes = np.eye(3, 4, dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["difference"], kernel_shape=[1, 1]),
        helper.make_node("AveragePool", ["difference"], ["smooth"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["smooth"], ["colors"]),
        helper.make_node("GlobalAveragePool", ["colors"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "classes"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(classes, "classes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def color_metadata() -> ModelMetadata:
    return ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=PREPROCESSING, labels=list(COLORS))


def scenes(count: int, seed: int = 0) -> bytes:
    """Return a dataset of concepts: images of sky with a tree and a car, every second one by night."""
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    names = list(COLORS)
    rows = ["image,category,concept"]
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(count):
            labels = np.full((SIDE, SIDE), names.index("sky") + 1, np.uint8)
            for name in ("tree", "car"):
                top, left = rng.integers(0, SIDE - 24, 2)
                labels[top : top + rng.integers(10, 24), left : left + rng.integers(10, 24)] = names.index(name) + 1
            pixels = np.array([(0, 0, 0), *COLORS.values()], np.float64)[labels]
            pixels = pixels * (0.5 if index % 2 else 1.0) + rng.normal(0, 4, pixels.shape)
            archive.writestr(f"images/{index:03}.png", _png(pixels.clip(0, 255).astype(np.uint8)))
            archive.writestr(f"labels/object/{index:03}.png", _png(labels))
            rows.append(f"{index:03},scene,{'night' if index % 2 else 'day'}")
        archive.writestr("concepts.json", json.dumps({"object": names, "scene": ["day", "night"]}))
        archive.writestr("image_labels.csv", "\n".join(rows))
    return buffer.getvalue()


VOCABULARY = ["<pad>", "<unk>", "dog", "cat", "man", "sleeps", "runs", "nobody", "outside", "."]


def word_network() -> onnx.ModelProto:
    """Return a classifier with units for 'nobody' in the hypothesis, 'dog' in the premise, and both.

    The mean of the one-hot words of each side passes a linear layer and a ReLU.
    """
    size = len(VOCABULARY)
    nobody, dog = VOCABULARY.index("nobody"), VOCABULARY.index("dog")
    weight, bias = np.zeros((3, 2 * size), np.float32), np.zeros(3, np.float32)
    weight[0, size + nobody], weight[1, dog] = 8, 8
    weight[2, size + nobody], weight[2, dog], bias[2] = 8, 8, -1.5
    out = np.array([[-4, 1, 0], [0, 1, 0], [4, 0, 1]], np.float32)
    nodes = [
        node
        for side in ("premise", "hypothesis")
        for node in (
            helper.make_node("Gather", ["one_hot", side], [f"{side}_words"]),
            helper.make_node("ReduceMean", [f"{side}_words"], [f"{side}_mean"], axes=[1], keepdims=0),
        )
    ]
    nodes += [
        helper.make_node("Concat", ["premise_mean", "hypothesis_mean"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "weight", "bias"], ["linear"], transB=1),
        helper.make_node("Relu", ["linear"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "out", "zero"], ["logits"], transB=1),
    ]
    weights = {"one_hot": np.eye(size, dtype=np.float32), "weight": weight, "bias": bias, "out": out}
    weights["zero"] = np.array([0.5, 0, 0], np.float32)
    graph = helper.make_graph(
        nodes,
        "words",
        [
            helper.make_tensor_value_info("premise", TensorProto.INT64, ["n", 8]),
            helper.make_tensor_value_info("hypothesis", TensorProto.INT64, ["n", 8]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def word_metadata() -> ModelMetadata:
    return ModelMetadata(
        task=Task.TEXT_PAIR_CLASSIFICATION, labels=["entailment", "neutral", "contradiction"], output="logits"
    )


def sentences(count: int, seed: int = 0, *, vectors: bool = True) -> bytes:
    """Return a dataset of sentence pairs that contradict if the hypothesis has 'nobody'."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        premise = [str(rng.choice(["dog", "cat", "man"])), str(rng.choice(["sleeps", "runs"])), "."]
        who = str(rng.choice(["nobody", "man", premise[0]]))
        hypothesis = [who, str(rng.choice(["sleeps", "runs", "flies"])), "."]
        label = "contradiction" if who == "nobody" else "entailment" if hypothesis == premise else "neutral"
        pair = {"premise": " ".join(premise), "hypothesis": " ".join(hypothesis), "label": label}
        lines.append(json.dumps({**pair, "premise_tags": "NN VB .", "hypothesis_tags": "NN VB ."}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pairs.jsonl", "\n".join(lines))
        archive.writestr("vocab.txt", "\n".join(VOCABULARY))
        if vectors:
            known = [word for word in VOCABULARY if word[0] not in "<."]
            points = np.random.default_rng(1).normal(size=(len(known), 3))
            rows = (f"{word} {' '.join(f'{x:.3f}' for x in point)}" for word, point in zip(known, points, strict=True))
            archive.writestr("vectors.txt", "\n".join(rows))
    return buffer.getvalue()


def peak_network(length: int = 64) -> onnx.ModelProto:
    """Return a network of one channel with a unit for high values and a unit for low values."""
    weight = np.array([[[1, 1, 1]], [[-1, -1, -1]]], np.float32) / 3
    nodes = [
        helper.make_node("Conv", ["signal", "weight"], ["smooth"], kernel_shape=[3], pads=[1, 1]),
        helper.make_node("Relu", ["smooth"], ["peaks"]),
        helper.make_node("GlobalAveragePool", ["peaks"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "peaks",
        [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["n", 1, length])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def beats(count: int, length: int = 64, seed: int = 0, names: Sequence[str] = ("wave", "dip")) -> bytes:
    """Return a dataset of signals with a wave and a dip, labelled at each moment."""
    rng = np.random.default_rng(seed)
    signals: NDArray[np.float64] = rng.normal(0, 0.05, (count, 1, length))
    concepts = np.zeros((count, length), np.int64)
    for index in range(count):
        wave, dip = rng.choice(np.arange(4, length - 12, 12), 2, replace=False)
        signals[index, 0, wave : wave + 10] += 1
        signals[index, 0, dip : dip + 10] -= 1
        concepts[index, wave : wave + 10], concepts[index, dip : dip + 10] = 1, 2
    buffer = io.BytesIO()
    np.savez(
        buffer,
        signals=signals.astype(np.float32),
        concepts=concepts,
        concept_names=np.array(names),
        labels=rng.integers(0, 2, count),
    )
    return buffer.getvalue()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
