"""Texts are read from JSON lines and from tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets import texts as module
from faceter.datasets.kinds import open_dataset, verify_dataset
from faceter.datasets.texts import TaggedText, TextsDataset

SETTINGS = Settings(_env_file=None)


def lines(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def opened(path: Path, content: bytes) -> TextsDataset:
    file = path / "texts"
    file.write_bytes(content)
    data = open_dataset(file, DatasetKind.TEXTS, SETTINGS)
    assert isinstance(data, TextsDataset)
    return data


def refused(path: Path, content: bytes) -> str:
    (path / "texts").write_bytes(content)
    with pytest.raises(FaceterError) as caught:
        verify_dataset(path / "texts", DatasetKind.TEXTS, SETTINGS)
    assert caught.value.kind is ProblemKind.INVALID_DATASET
    return caught.value.detail


EXPECTED = [
    TaggedText("A dog, running.", ("DT", "NN", "VB"), "good"),
    TaggedText("It rains", ("PR", "VB"), "bad"),
]


@pytest.mark.parametrize(
    "content",
    [
        lines(
            {"text": "A dog, running.", "label": "good", "tags": "DT NN VB"},
            "",
            {"text": "It rains", "label": "bad", "tags": ["PR", "VB"]},
        ),
        b"\xef\xbb\xbf" + lines({"text": "A dog, running.", "label": "good", "tags": "DT NN VB"}) + b"\r\n"
        b'{"text": "It rains", "label": "bad", "tags": "PR VB"}\r\n',
        b'text,label,tags\n"A dog, running.",good,DT NN VB\nIt rains,bad,PR VB\n',
        b"\xef\xbb\xbfLabel;Text;Tags\r\ngood;A dog, running.;DT NN VB\r\nbad;It rains;PR VB\r\n",
        b"text\tlabel\ttags\nA dog, running.\tgood\tDT NN VB\n\nIt rains\tbad\tPR VB\n",
        "text\tlabel\ttags\nA dog, running.\tgood\tDT NN VB\nIt rains\tbad\tPR VB\n".encode("utf-16"),
    ],
)
def test_json_lines_and_tables(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path, content) as data:
        assert data.samples == EXPECTED
        assert [data.text(index) for index in range(len(data))] == [sample.text for sample in EXPECTED]
        assert data.summary().classes == ["bad", "good"]
        assert data.summary().class_counts == {"bad": 1, "good": 1}
        assert data.summary().warnings == []


def test_labels_and_tags_are_optional_and_other_fields_ignored(tmp_path: Path) -> None:
    with opened(tmp_path, lines({"text": "a", "id": 7}, {"text": "b", "tags": "X", "source": "web"})) as data:
        assert data.samples == [TaggedText("a"), TaggedText("b", ("X",))]
        assert data.classes == []
        assert data.sample_labels(["x"]) is None
        assert data.warnings == ["ignored, unknown fields: 'id', 'source'"]
    with opened(tmp_path, b'text,number\n"two\nlines",1\n') as data:
        assert data.samples == [TaggedText("two\nlines")]


def test_labels_are_numbered_in_the_order_of_the_model(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "good"}, {"text": "b", "label": "bad"}, {"text": "c", "label": "good"}]
    with opened(tmp_path, lines(*rows)) as data:
        labels = data.sample_labels(["bad", "fair", "good"])
        assert labels is not None
        assert labels.tolist() == [2, 0, 2]
        with pytest.raises(FaceterError, match="no labels of the model: 'bad'") as caught:
            data.sample_labels(["good", "fair"])
        assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_labels_that_are_numbers_are_outputs_of_the_model_or_its_labels(tmp_path: Path) -> None:
    with opened(
        tmp_path, lines({"text": "a", "label": 0}, {"text": "b", "label": 2}, {"text": "c", "label": "2"})
    ) as data:
        assert data.numbered
        assert data.classes == ["0", "1", "2"]
        for labels, expected in ((None, [0, 2, 2]), (["x", "y", "z"], [0, 2, 2]), (["2", "1", "0"], [2, 0, 0])):
            found = data.sample_labels(labels)
            assert found is not None
            assert found.tolist() == expected
        with pytest.raises(FaceterError, match="no labels of the model: '2'"):
            data.sample_labels(["x", "y"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file holds no texts. It needs a line"),
        (b"text,label\n", "The file holds no texts"),
        (b"PK\x03\x04rest", "is a zip archive. Upload the text file itself"),
        (b'{"text": "a"}\n{"text": ', "Line 2 is not JSON"),
        (b'{"text": "a"}\n["a"]', "Line 2 must be an object"),
        (b'{"label": "a"}', "Line 1 has no 'text'"),
        (b'{"text": ""}', "Line 1 has no 'text'"),
        (b'{"text": "  "}', "Line 1 has a 'text' that is no text"),
        (b'{"text": 7}', "Line 1 has a 'text' that is no text"),
        (b'{"text": "a", "label": ["b"]}', "Line 1 has a 'label' that is no text of 1 to 200"),
        (b'{"text": "a", "label": true}', "Line 1 has a 'label' that is no text of 1 to 200"),
        (b'{"text": "a", "label": " "}', "Line 1 has a 'label'"),
        (b'{"text": "a b", "tags": "X"}', "Line 1 has 1 'tags' for the 2 words of its text"),
        (b'{"text": "a", "tags": [1]}', "Line 1 has 'tags' that are no text"),
        (b'{"text": "a", "label": "x"}\n{"text": "b"}', "Line 2 has no 'label', line 1 has one"),
        (b'{"text": "a"}\n\n{"text": "b", "label": "x"}', "Line 3 has a 'label', line 1 has none"),
        (lines({"text": "a" * 100_001}), "Line 1 has a text of 100,001 characters; 100,000 are the limit"),
        (b"sentence,label\na,b\n", "Line 1 must name the columns, each once, with one named text"),
        (b"text,text\na,b\n", "Line 1 must name the columns, each once"),
        (b"text,label\na\n", "Line 2 has 1 values, the first line names 2 columns"),
        (b'text\n"a', "line 2 cannot be read"),
        (b'text,label\n"",x\n', "Line 2 has no 'text'"),
        (b"\xff\xfa\xfb", "is not UTF-8 text"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refused(tmp_path, content)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 20)
    assert "at most 20 bytes. Split it" in refused(tmp_path, b"text\n" + b"a" * 16)
    with opened(tmp_path, b"text\n" + b"a" * 15) as data:
        assert len(data) == 1


def test_equal_files_are_equal_whatever_reports_progress(tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes(b"text\na\nb\n")
    done: list[float] = []
    assert verify_dataset(tmp_path / "texts", DatasetKind.TEXTS, SETTINGS, done.append).samples == 2
    assert done == [1.0]
