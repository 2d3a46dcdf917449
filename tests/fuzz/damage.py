"""Damage to files: what a broken disk, a cut connection or an attacker does to them."""

import random
from typing import Final

_LENGTHS: Final = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x00\x00\x00\x80"]
"""Values of length fields in either byte order."""


def damaged(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    """Return a file with one to three kinds of damage.

    Args:
        content: The file.
        others: Files of which parts may be spliced in.
        chooser: Chooses the damage.
    """
    changed = content
    for _ in range(chooser.choice([1, 1, 2, 3])):
        changed = chooser.choice(_DAMAGES)(changed or b"\0", others, chooser)
    return changed


def _flipped(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chooser.choice([1, 1, 3, 20])):
        changed[chooser.randrange(len(changed))] ^= 1 << chooser.randrange(8)
    return bytes(changed)


def _cut_off(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    return content[: chooser.randrange(len(content))]


def _without_a_part(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    begin = chooser.randrange(len(content))
    return content[:begin] + content[begin + chooser.randint(1, 64) :]


def _spliced(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    other = chooser.choice(others)
    begin, at = chooser.randrange(len(other)), chooser.randrange(len(content))
    return content[:at] + other[begin : begin + chooser.randint(1, 400)] + content[at:]


def _with_another_length(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    """Overwrite four bytes, near the begin or the end more often than not: there the headers are."""
    near = min(len(content), 64)
    at = chooser.choice(
        [chooser.randrange(len(content)), chooser.randrange(near), len(content) - chooser.randint(1, near)]
    )
    return content[:at] + chooser.choice(_LENGTHS) + content[at + 4 :]


def _swapped(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    one, two, three = sorted(chooser.randrange(len(content) + 1) for _ in range(3))
    return content[:one] + content[two:three] + content[one:two] + content[three:]


def _repeated(content: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    begin = chooser.randrange(len(content))
    end = begin + chooser.randint(1, 64)
    return content[:end] + content[begin:end] * chooser.randint(1, 50) + content[end:]


_DAMAGES: Final = [_flipped, _cut_off, _without_a_part, _spliced, _with_another_length, _swapped, _repeated]
