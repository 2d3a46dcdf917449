"""One node against ONNX Runtime, and seeded values for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime, one_node

RANDOM = np.random.default_rng(20260704)


def floats(*shape: int) -> NDArray[np.float32]:
    return RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def check(op_type: str, opset: int, inputs: dict[str, Any], **settings: Any) -> None:
    assert_equal_to_onnxruntime(one_node(op_type, inputs, opset, **settings), inputs)
