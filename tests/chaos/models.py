"""The models and datasets that the clients upload, and what the models answer."""

from typing import Any, Final

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from tests.app.dataset_archives import concepts
from tests.app.uploads import images
from tests.engines.graphs import model

SEEDS: Final = range(6)
"""Seeds of the models; few, so that many uploads have equal content and share a blob."""

TENSOR: Final = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
"""The input of every prediction."""

LAYER: Final = "r"
FEATURES: Final = "f"


def classifier(seed: int) -> bytes:
    """Return an image classifier with BatchNorm, which every quantization method takes."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return random.normal(size=shape).astype(np.float32)

    return model(
        [
            helper.make_node("Conv", ["image", "w1"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["b"], name="norm"),
            helper.make_node("Relu", ["b"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
            helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], name="linear", transB=1),
        ],
        {"image": (TensorProto.FLOAT, ["batch", 3, 8, 8])},
        {"logits": (TensorProto.FLOAT, ["batch", 3])},
        {
            "w1": normal(6, 3, 3, 3),
            "gamma": np.ones(6, np.float32),
            "beta": normal(6),
            "mean": normal(6),
            "variance": np.exp(normal(6)),
            "w2": normal(3, 6),
            "b2": normal(3),
        },
    )


CONTENTS: Final = {seed: classifier(seed) for seed in SEEDS}
"""The files, by seed."""

SAMPLES: Final = images(each=9)
"""A dataset of kind `images`."""

CONCEPTS: Final = concepts()
"""A dataset of kind `concepts`."""


def expected(seed: int) -> np.ndarray[Any, Any]:
    """Return what a model answers to `TENSOR`."""
    session = onnxruntime.InferenceSession(CONTENTS[seed], providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": TENSOR})[0])
