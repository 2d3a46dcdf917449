"""Bit-width schedule: a network of few bits is tuned from one of a few more bits, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BitStage:
    """One stage of the schedule.

    Args:
        weight_bits: Bits of every weight; the lower bound of them in a mixed-precision network.
        activation_bits: Bits of activations.
        start: Fraction of the tuning at which it begins, 0 to 1.
        end: Fraction at which it ends.
        mixed: Whether weights have different bits (mixed precision).
    """

    weight_bits: int
    activation_bits: int
    start: float
    end: float
    mixed: bool = False

    @property
    def name(self) -> str:
        """Name in reports: ``tuning W3A3``, or ``tuning W3+A8`` where weights have 3 bits or more."""
        return f"tuning W{self.weight_bits}{'+' if self.mixed else ''}A{self.activation_bits}"

    def progress(self, fraction: float) -> float:
        """Return the fraction of the stage that is done, 0 to 1, at a fraction of the tuning."""
        return min(1.0, max(0.0, (fraction - self.start) / (self.end - self.start)))


def bit_schedule(weight_bits: int, activation_bits: int, *, last_share: float, mixed: bool = False) -> list[BitStage]:
    """Return the stages from 4 bits down to the target bits; a single stage if the target is 4 or more.

    Both fall by one bit at first, then weights, then activations: W4A4, W3A3, W2A3, W2A2. Stages before the last are of
    equal length. In mixed precision a weight has the larger of the stage's bits and its own.

    Args:
        weight_bits: Target bits of weights; the fewest of them in mixed precision.
        activation_bits: Target bits of activations.
        last_share: Fraction of the tuning for the last stage, above 0 and at most 1.
        mixed: Whether weights have different bits.
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
        return [BitStage(*bits[0], 0.0, 1.0, mixed)]
    early = (1.0 - last_share) / (len(bits) - 1)
    edges = [index * early for index in range(len(bits))] + [1.0]
    return [BitStage(*pair, edges[index], edges[index + 1], mixed) for index, pair in enumerate(bits)]
