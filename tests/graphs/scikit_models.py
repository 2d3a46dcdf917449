"""Classifiers of scikit-learn, converted by skl2onnx."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from tests.graphs.builders import Array

FEATURES, CLASSES = 6, 3


@cache
def samples() -> tuple[Array, Array]:
    """Return 150 seeded points [N, 6] around three centres, and the number of the centre of each."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, FEATURES)) * 3
    labels = np.arange(150) % CLASSES
    return (centres[labels] + rng.normal(size=(150, FEATURES))).astype(np.float32), labels


def multilayer_perceptron(*, text: bool = False, scaled: bool = False, **options: Any) -> onnx.ModelProto:
    """Return a classifier of two layers.

    Args:
        text: Whether its classes are texts.
        scaled: Whether a StandardScaler comes before it.
        **options: Of the conversion, such as ``zipmap``.
    """
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, labels = samples()
    targets = np.array(["cat", "dog", "emu"])[labels] if text else labels
    network: Any = MLPClassifier(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=200, random_state=0)  # type: ignore[no-untyped-call]
    if scaled:
        network = make_pipeline(StandardScaler(), network)  # type: ignore[no-untyped-call]
    made: onnx.ModelProto = skl2onnx.to_onnx(network.fit(x, targets), x[:1], options=options, target_opset=18)
    return made
