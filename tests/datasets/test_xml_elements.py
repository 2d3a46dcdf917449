"""XML is read without document types, so nothing expands and nothing else is opened."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets.xml_elements import read_xml

ENTITIES = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, 10))
LAUGHS = f'<!DOCTYPE lolz [<!ENTITY l0 "lol">{ENTITIES}]><annotation>&l9;</annotation>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_elements_and_texts(encoding: str) -> None:
    declared = "" if encoding.startswith("utf") else f'<?xml version="1.0" encoding="{encoding}"?>'
    text = f"{declared}<annotation><!-- no --><object id='1'><name>café &amp; tea</name></object><object/></annotation>"
    root = read_xml(text.encode(encoding), "a.xml")
    assert root.tag == "annotation"
    assert [item.findtext("name") for item in root.iterfind("object")] == ["café & tea", None]


@pytest.mark.parametrize(
    "content",
    [
        LAUGHS,
        '<!DOCTYPE a [<!ENTITY x "y">]><a/>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<?xml version="1.0"?>\n<!DOCTYPE annotation>\n<annotation/>',
    ],
    ids=["laughs", "entity", "outside", "file", "plain"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(content: str, encoding: str) -> None:
    with pytest.raises(FaceterError, match=r"a\.xml has a document type .* Remove it") as caught:
        read_xml(content.encode(encoding), "a.xml")
    assert caught.value.kind is ProblemKind.INVALID_DATASET


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"annotation",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a>&x;</a>",
        b"<a>caf\xe9</a>",
        b'<?xml version="1.0" encoding="nothing-like-it"?><a/>',
        b'<?xml version="1.0" encoding="shift_jis"?><a/>',
        b"\0\1\2",
    ],
)
def test_what_is_no_xml_is_refused(content: bytes) -> None:
    with pytest.raises(FaceterError, match=r"a\.xml is not XML") as caught:
        read_xml(content, "a.xml")
    assert caught.value.kind is ProblemKind.INVALID_DATASET


def test_what_is_nested_too_deeply_is_refused() -> None:
    assert read_xml(b"<a>" * 100 + b"</a>" * 100, "a.xml").tag == "a"
    with pytest.raises(FaceterError, match="nested too deeply"):
        read_xml(b"<a>" * 1_000_000, "a.xml")


@given(st.binary(max_size=200))
def test_any_bytes_are_elements_or_a_problem(content: bytes) -> None:
    outcome = tag_or_problem(content)
    assert isinstance(outcome, str) or outcome is ProblemKind.INVALID_DATASET


def tag_or_problem(content: bytes) -> str | ProblemKind:
    try:
        return read_xml(content, "a.xml").tag
    except FaceterError as error:
        return error.kind


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    document = f'<a xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="{secret}" parse="text"/></a>'
    assert "secret" not in "".join(read_xml(document.encode(), "a.xml").itertext())
