import json

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.text.tokenizer_file import check_tokenizer_file
from tests.text.tokenizer_files import byte_level, changed, word_piece

LOWERCASE = {"type": "Lowercase"}


@pytest.mark.parametrize("content", [word_piece(), byte_level()])
def test_tokenizers_are_accepted(content: bytes) -> None:
    check_tokenizer_file(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"[PAD]\n[UNK]\nthe\n", "The file is not JSON"),
        (b"\xff\xfe\x00", "The file is not JSON: byte 0"),
        (b'{"model":' + b"[" * 100_000, "nested too deeply"),
        (b'["model"]', "The file has no `model`"),
        (b'{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}', "The file has no `model`"),
        (b'{"model": {"type": "Magic", "vocab": {"a": 0}}}', "a model of type 'Magic'; known are BPE, WordPiece"),
        (b'{"model": {"type": "WordPiece", "vocab": {}}}', "vocabulary in the file's `model` is missing or empty"),
        (b'{"model": {"type": "WordPiece"}}', "vocabulary in the file's `model` is missing or empty"),
    ],
)
def test_other_files_are_refused_with_the_remedy(content: bytes, words: str) -> None:
    with pytest.raises(FaceterError) as caught:
        check_tokenizer_file(content)
    assert caught.value.kind is ProblemKind.INVALID_TOKENIZER
    assert words in caught.value.detail
    assert "Upload the file tokenizer.json" in caught.value.detail


@pytest.mark.parametrize(("part", "inner"), [("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")])
def test_more_steps_than_any_tokenizer_has_are_refused(part: str, inner: str) -> None:
    step: dict[str, object] = {"type": "Sequence", inner: [LOWERCASE] * 20}
    check_tokenizer_file(changed(word_piece(), **{part: {"type": "Sequence", inner: [step] * 3}}))
    with pytest.raises(FaceterError, match=f"Its {part} has 85 steps"):
        check_tokenizer_file(changed(word_piece(), **{part: {"type": "Sequence", inner: [step] * 4}}))


def test_parts_of_the_wrong_type_are_left_to_the_library() -> None:
    assert "model" in json.loads(word_piece())
    check_tokenizer_file(changed(word_piece(), normalizer=7, pre_tokenizer={"pretokenizers": 3}))
