"""W3C Trace Context, level 1: what is continued, and what is not."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.tracing.trace_context import TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (VALID, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 3),
        (f" {VALID}\t", 1),
        (f"01-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", 1),
    ],
)
def test_what_is_valid_is_continued(header: str, flags: int) -> None:
    context = TraceContext.of_headers([header], ["a=1", "b=2"])
    assert context == TraceContext(TRACE, SPAN, flags, "a=1,b=2")
    assert context is not None
    assert context.parent_header == f"00-{TRACE}-{SPAN}-{flags:02x}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        VALID[:-1],
        VALID + "0",
        f"{VALID}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        VALID.upper(),
        VALID.replace("-", "_"),
        f"00-{TRACE}-{SPAN}_01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:7]} {SPAN[8:]}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0.",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_what_is_invalid_is_ignored(header: str) -> None:
    assert TraceContext.of_headers([header], ["a=1"]) is None


def test_two_parents_are_ignored_and_so_is_a_state_without_one() -> None:
    assert TraceContext.of_headers([VALID, VALID]) is None
    assert TraceContext.of_headers([], ["a=1"]) is None


@given(st.text(string.hexdigits + "- _x", min_size=50, max_size=60))
def test_no_text_that_is_taken_leads_to_another(text: str) -> None:
    context = TraceContext.of_headers([text])
    if context is not None:
        assert text.strip()[3:52] == f"{context.trace_id}-{context.span_id}"
        assert TraceContext.of_headers([context.parent_header]) == context


def test_a_child_has_a_span_of_its_own_and_all_else_of_its_parent() -> None:
    parent = TraceContext(TRACE, SPAN, 1, "a=1")
    child, other = parent.child(), parent.child()
    assert len({parent.span_id, child.span_id, other.span_id}) == 3
    assert child._replace(span_id=SPAN) == parent
    assert TraceContext.of_headers([child.parent_header], ["a=1"]) == child


def test_a_new_trace_is_valid_and_not_recorded() -> None:
    first, second = TraceContext.new(), TraceContext.new()
    assert TraceContext.of_headers([first.parent_header]) == first
    assert first.flags == 0
    assert first.trace_id != second.trace_id
