"""Conversion of a model's outputs, tensors or not, to JSON values."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def to_json(value: Any) -> Any:
    """Return an output as JSON: a tensor as nested lists, a sequence as a list, a map as an object.

    Keys of maps become text. NaN and infinity are left as they are.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def joined(values: Sequence[Any]) -> Any:
    """Return one output of several runs: tensors and sequences one after the other."""
    if all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return np.concatenate([np.atleast_1d(value) for value in values])
