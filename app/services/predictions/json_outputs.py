"""Conversion of a model's outputs, tensors or not, to JSON values."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind

MOST_VALUES: Final = 5_000_000
"""Most values of tensors in a JSON answer, which then has about 100 MB and takes seconds to write."""


def check_json_size(outputs: Mapping[str, Any], binary: str) -> None:
    """Check that outputs are not too large for JSON.

    Args:
        outputs: The outputs by name.
        binary: How to ask for a binary form.

    Raises:
        FaceterError: `NOT_ACCEPTABLE`.
    """
    values = sum(output.size for output in outputs.values() if isinstance(output, np.ndarray))
    if values > MOST_VALUES:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The outputs have {values:,} values, too many for JSON ({MOST_VALUES:,} at most). {binary}",
        )


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
