"""Going down in bits by stages: a network of few bits begins from the tuned network of a few more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of tuning.

    Args:
        weight_bits: Bits of every weight; of a mixed network the fewest that a weight has.
        activation_bits: Bits of activations.
        start: The share of the tuning at which it begins.
        end: The share at which it ends.
        mixed: Whether weights have bits of their own.
    """

    weight_bits: int
    activation_bits: int
    start: float
    end: float
    mixed: bool = False

    @property
    def name(self) -> str:
        """What it is called in reports, such as ``tuning W3A3``, or ``tuning W3+A8`` where weights have 3 or more."""
        return f"tuning W{self.weight_bits}{'+' if self.mixed else ''}A{self.activation_bits}"

    def within(self, fraction: float) -> float:
        """Return how much of the stage is done, 0 to 1, when ``fraction`` of the tuning is."""
        return min(1.0, max(0.0, (fraction - self.start) / (self.end - self.start)))


def stages(weight_bits: int, activation_bits: int, *, last: float, mixed: bool = False) -> list[Stage]:
    """Return the stages on the way down from 4 bits; one alone where 4 or more are asked for.

    Weights and activations fall by turns, activations last: W4A4, W3A3, W2A3, W2A2. Each stage but the last gets an
    equal part of what the last leaves. In a mixed network a weight has at least the bits of the stage and stays where
    it has come to its own.

    Args:
        weight_bits: Bits of weights in the end; the fewest of them in a mixed network.
        activation_bits: Bits of activations in the end.
        last: The share of the last stage, above 0 and at most 1.
        mixed: Whether weights have bits of their own.
    """
    bits = [(max(4, weight_bits), max(4, activation_bits))]
    while bits[-1] != (weight_bits, activation_bits):
        weights, activations = bits[-1]
        lower = weights > weight_bits, activations > activation_bits
        both = lower == (True, True) and (weights, activations) == (4, 4)
        if both:
            bits.append((weights - 1, activations - 1))
        elif lower[0]:
            bits.append((weights - 1, activations))
        else:
            bits.append((weights, activations - 1))
    if len(bits) == 1:
        return [Stage(*bits[0], 0.0, 1.0, mixed)]
    early = (1.0 - last) / (len(bits) - 1)
    edges = [index * early for index in range(len(bits))] + [1.0]
    return [Stage(*pair, edges[index], edges[index + 1], mixed) for index, pair in enumerate(bits)]
