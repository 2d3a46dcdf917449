"""Where the values of a float input lie, as the first operators behind it tell: a normalization undoes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceter.graphs.view import GraphView, attribute

Floats = NDArray[np.float64]

_MOST_STEPS = 8
_SMALLEST_FACTOR = 1e-12


def input_distribution(view: GraphView, name: str) -> tuple[Floats, Floats]:
    """Return mean and deviation of an input, so that it is N(0, 1) behind the constants that it is scaled by.

    Sub, Add, Mul and Div by constants are followed; behind a BatchNormalization the input has its stored mean and
    variance. Without any of these they are 0 and 1.

    Args:
        view: Of a graph in canonical form.
        name: The input.

    Returns:
        Arrays that broadcast to the input.
    """
    factor, shift = np.ones(()), np.zeros(())
    tensor = name
    for _ in range(_MOST_STEPS):
        readers = view.consumers.get(tensor, [])
        if len(readers) != 1 or tensor in view.outputs:
            break
        (node,) = readers
        if node.op_type == "BatchNormalization" and node.input[0] == tensor:
            return _undone(
                factor, shift, *_stored(view, node.input[3], node.input[4], attribute(node, "epsilon", 1e-5))
            )
        step = _step(view, node.op_type, list(node.input), tensor)
        if step is None:
            break
        factor, shift = factor * step[0], shift * step[0] + step[1]
        tensor = node.output[0]
    return _undone(factor, shift, np.zeros(()), np.ones(()))


def _step(view: GraphView, operator: str, inputs: list[str], tensor: str) -> tuple[Floats, Floats] | None:
    """Return factor and shift of an elementwise operator with a constant; None for any other node."""
    if operator not in ("Add", "Sub", "Mul", "Div") or len(inputs) != 2:
        return None
    first = inputs[0] == tensor
    constant = view.constant(inputs[1] if first else inputs[0])
    if constant is None or constant.dtype.kind != "f":
        return None
    value = np.asarray(constant, np.float64)
    one, zero = np.ones(()), np.zeros(())
    if operator == "Add":
        return one, value
    if operator == "Mul":
        return value, zero
    if operator == "Sub":
        return (one, -value) if first else (-one, value)
    return (1 / np.where(value == 0, 1.0, value), zero) if first else None


def _stored(view: GraphView, mean: str, variance: str, epsilon: float) -> tuple[Floats, Floats]:
    means, variances = view.constant(mean), view.constant(variance)
    if means is None or variances is None:
        return np.zeros(()), np.ones(())
    return np.asarray(means, np.float64), np.sqrt(np.asarray(variances, np.float64) + epsilon)


def _undone(factor: Floats, shift: Floats, mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """Return the distribution of x if factor · x + shift has the given one."""
    usable = np.abs(factor) > _SMALLEST_FACTOR
    safe = np.where(usable, factor, 1.0)
    return np.where(usable, (mean - shift) / safe, 0.0), np.where(usable, deviation / np.abs(safe), 1.0)
