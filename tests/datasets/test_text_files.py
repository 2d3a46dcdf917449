"""Text files and tables as people save them."""

import codecs

import pytest

from faceter.contracts.errors import FaceterError
from faceter.datasets.text_files import decoded_text, table_rows, text_beginning


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_ends_of_lines(encoding: str, newline: str) -> None:
    content = f"cafe\u0301 1{newline}tea 2{newline}".encode(encoding)
    assert decoded_text(content, "a.txt") == text_beginning(content) == "café 1\ntea 2\n"


def test_utf_16_of_the_other_byte_order() -> None:
    assert decoded_text(codecs.BOM_UTF16_BE + "é".encode("utf-16-be"), "a.txt") == "é"


def test_other_encodings_are_refused_with_the_remedy() -> None:
    with pytest.raises(FaceterError, match=r"a\.csv: line 3 is not UTF-8 text\. Save the file as UTF-8 \(in Excel"):
        decoded_text("a\nb\ncafé\n".encode("cp1252"), "a.csv")


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "a;b\n1;2\n",
        "a\tb\n1\t2",
        "sep=;\na;b\n1;2\n",
        "sep=\t\na\tb\n1\t2\n",
        ' a ,"b"\n\n , \n"1", 2\n',
    ],
)
def test_tables(text: str) -> None:
    assert [row for _, row in table_rows(text, "a.csv")] == [["a", "b"], ["1", "2"]]


def test_values_may_hold_separators_and_lines() -> None:
    rows = list(table_rows('a;b\n"x;y";"1\n2"\n"say ""hi""";,\n', "a.csv"))
    assert rows == [(1, ["a", "b"]), (3, ["x;y", "1\n2"]), (4, ['say "hi"', ","])]


def test_lines_that_cannot_be_read_are_named() -> None:
    for text in ('a,b\n"x"y,1\n', 'a,b\n"x,1\n', f"a,b\n{'x' * 200_000},1\n"):
        with pytest.raises(FaceterError, match=r"a\.csv: line [23] cannot be read"):
            list(table_rows(text, "a.csv"))


def test_the_beginning_of_what_is_no_text_is_empty() -> None:
    assert text_beginning(b"\0\1\2") == ""
    assert text_beginning(b"") == ""
    long = b"a line\n" * 20_000
    assert text_beginning(long) == "a line\n" * (65_536 // 7)
