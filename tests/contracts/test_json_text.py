import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.json_text import NotJsonError, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(VALUES, st.booleans(), st.booleans())
def test_what_json_can_say_is_read(value: object, ascii_only: bool, as_bytes: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    found = read_json(text.encode() if as_bytes else text)
    assert found == value
    assert repr(found) == repr(json.loads(text))  # of the same types


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a"', "at character 4"),
        ("", "at character 0"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "too many digits"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ('{"\\ud800": 1}', "unpaired surrogate"),
        ('["\\uDFFF"]', "unpaired surrogate"),
    ],
)
def test_what_is_no_json_says_why_in_words_of_the_sender(text: str | bytes, words: str) -> None:
    with pytest.raises(NotJsonError, match=words) as caught:
        read_json(text)
    assert "sys." not in str(caught.value)
    assert "recursion" not in str(caught.value)


def test_whole_pairs_and_byte_order_marks_are_fine() -> None:
    assert read_json('"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
    assert read_json(b"\xef\xbb\xbf[1]") == [1]
