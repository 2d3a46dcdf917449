"""A place in a trace, as W3C Trace Context (https://www.w3.org/TR/trace-context/) writes it in headers."""

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

PARENT_HEADER: Final = "traceparent"
STATE_HEADER: Final = "tracestate"

_LENGTH: Final = 55
_HEX: Final = "0123456789abcdef"
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and random of level 2; the others must not be continued."""


class TraceContext(NamedTuple):
    """A span of a trace."""

    trace_id: str
    """32 lower-case hexadecimal digits."""
    span_id: str
    """16 of them."""
    flags: int = 0
    """Bit 0: the span may have been recorded."""
    state: str = ""
    """`tracestate` as it was received; of others, and continued as it is."""

    @property
    def parent_header(self) -> str:
        """The value of `traceparent` that makes this span the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self) -> "TraceContext":
        """Return a new span of the same trace."""
        return TraceContext(self.trace_id, os.urandom(8).hex(), self.flags, self.state)

    @classmethod
    def new(cls) -> "TraceContext":
        """Return the first span of a new trace, which is not recorded."""
        digits = os.urandom(24).hex()
        return cls(digits[:32], digits[32:])

    @classmethod
    def of_headers(cls, parents: Sequence[str], states: Sequence[str] = ()) -> "TraceContext | None":
        """Return what the headers of a request say.

        Args:
            parents: All values of `traceparent`; more than one are invalid.
            states: All values of `tracestate`.

        Returns:
            The span that caused the request; None if there is none, or `traceparent` is invalid.
        """
        if len(parents) != 1:
            return None
        header = parents[0].strip(" \t")
        if len(header) != _LENGTH and (len(header) < _LENGTH or header[:2] == "00" or header[_LENGTH] != "-"):
            return None
        version, trace_id, span_id, flags = header[:2], header[3:35], header[36:52], header[53:_LENGTH]
        if (
            header[2] != "-"
            or header[35] != "-"
            or header[52] != "-"
            or f"{version}{trace_id}{span_id}{flags}".strip(_HEX)
            or version == "ff"
            or trace_id == _NO_TRACE
            or span_id == _NO_SPAN
        ):
            return None
        return cls(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, ",".join(states))
