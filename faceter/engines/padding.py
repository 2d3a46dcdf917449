"""Outputs of a run whose batch was filled up to the size that a model fixes."""

from collections.abc import Mapping

import numpy as np

from faceter.engines.base import Array


def without_padding(outputs: Mapping[str, Array], size: int, count: int) -> dict[str, Array]:
    """Return the first ``count`` rows of outputs that have the ``size`` rows of a padded batch."""
    return {
        name: values[:count] if np.ndim(values) and len(values) == size else values for name, values in outputs.items()
    }
