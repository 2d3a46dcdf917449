import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tokenizers

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.text.tokenizer import LONGEST_TEXT, Text, Tokenizer
from tests.text.tokenizer_files import SENTENCES, byte_level, changed, vocabulary, word_piece

PAIRS: list[Text] = list(zip(SENTENCES[:3], SENTENCES[3:6], strict=True))
SLOW: dict[str, Any] = {
    "type": "Sequence",
    "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 34,
}
"""Doubles each letter a 34 times."""


@pytest.fixture
def bert() -> Iterator[Tokenizer]:
    with Tokenizer(word_piece(max_length=12), seconds=60) as tokenizer:
        yield tokenizer


def by_library(content: bytes, text: Text, max_length: int) -> tokenizers.Encoding:
    """Return the encoding of the library itself, in this process."""
    tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer.encode(text) if isinstance(text, str) else tokenizer.encode(*text)


@pytest.mark.parametrize("content", [word_piece(), byte_level()])
@pytest.mark.parametrize("texts", [list(SENTENCES), PAIRS])
def test_tokens_are_those_of_the_library(content: bytes, texts: list[Text]) -> None:
    with Tokenizer(content, seconds=60) as tokenizer:
        found = tokenizer.tokenize(texts, 9)
        assert len(found) == len(texts)
        for text, tokens in zip(texts, found, strict=True):
            expected = by_library(content, text, 9)
            assert tokens.ids == expected.ids
            assert tokens.types == expected.type_ids
            assert tokens.special == [bool(one) for one in expected.special_tokens_mask]
            assert tokens.truncated == bool(expected.overflowing)
            assert len(tokens.ids) <= 9


def test_properties(bert: Tokenizer) -> None:
    found = bert.properties
    assert found.largest_id == max(vocabulary(word_piece()).values())
    assert (found.max_length, found.pad_id, found.pad_left, found.special) == (12, 0, False, (2, 3))
    with Tokenizer(byte_level(), seconds=60) as other:
        assert (other.properties.max_length, other.properties.pad_left) == (None, True)
        assert other.properties.special == (0, 0)


def test_pieces_are_joined_to_words(bert: Tokenizer) -> None:
    text = "Unbelievably, the DOG runs!"
    (tokens,) = bert.tokenize([text], 64, words=True)
    assert len(tokens.ids) > 8
    assert [text[start:end] for start, end in tokens.words[0]] == ["Unbelievably", ",", "the", "DOG", "runs", "!"]
    (pair,) = bert.tokenize([("a dog", "the rain")], 64, words=True)
    assert pair.words == [[(0, 1), (2, 5)], [(0, 3), (4, 8)]]


def test_words_beyond_the_maximum_length_are_left_out(bert: Tokenizer) -> None:
    (tokens,) = bert.tokenize(["dog dog dog dog"], 4, words=True)
    assert tokens.truncated
    assert tokens.words == [[(0, 3), (4, 7)]]


def test_the_maximum_length_leaves_room_for_a_token(bert: Tokenizer) -> None:
    assert len(bert.tokenize(["dog dog"], 1)[0].ids) == 3
    assert len(bert.tokenize([("dog dog", "dog")], 1)[0].ids) == 4


def test_several_threads_get_their_own_answers(bert: Tokenizer) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: bert.tokenize([text], 32)[0].ids, SENTENCES * 10))
    expected = [by_library(word_piece(), text, 32).ids for text in SENTENCES]
    assert found == expected * 10


def test_a_text_that_is_too_long_is_refused(bert: Tokenizer) -> None:
    with pytest.raises(FaceterError, match="Text 1 has 100,001 characters; send 100,000 at most") as caught:
        bert.tokenize(["dog", "a" * (LONGEST_TEXT + 1)], 16)
    assert caught.value.kind is ProblemKind.INVALID_INPUT
    assert bert.tokenize(["a" * LONGEST_TEXT], 16)[0].ids


def test_many_long_texts_are_sent_in_parts(bert: Tokenizer) -> None:
    text = "x" * LONGEST_TEXT
    found = bert.tokenize([text] * 24 + ["rain"], 8)
    assert found[:24] == [found[0]] * 24
    assert found[24].ids == by_library(word_piece(), "rain", 8).ids


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"type": "WordPiece", "vocab": {"a": -1}}, "expected u32"),
        ({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}, "out of vocabulary"),
        ({"type": "WordPiece", "vocab": {"a": 0}, "max_input_chars_per_word": "many"}, "expected usize"),
    ],
)
def test_a_file_that_the_library_cannot_load_is_refused(model: dict[str, Any], words: str) -> None:
    with Tokenizer(changed(word_piece(), model=model), seconds=60) as tokenizer:
        with pytest.raises(FaceterError, match=words) as caught:
            tokenizer.tokenize(["a"], 8)
        assert caught.value.kind is ProblemKind.INVALID_TOKENIZER


def test_a_rule_that_multiplies_a_text_is_stopped_at_the_time_limit() -> None:
    with Tokenizer(changed(word_piece(), normalizer=SLOW), seconds=0.5) as tokenizer:
        assert tokenizer.tokenize(["the"], 16)[0].ids
        with pytest.raises(FaceterError, match="was stopped") as caught:
            tokenizer.tokenize(["a"], 16)
        assert caught.value.kind is ProblemKind.INFERENCE_FAILED
        assert tokenizer.tokenize(["the"], 16)[0].ids, "the next text is answered by a new process"


def test_a_regular_expression_that_backtracks_forever_ends() -> None:
    pattern = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Removed", "invert": False}
    with Tokenizer(changed(word_piece(), pre_tokenizer=pattern), seconds=20) as tokenizer:
        assert tokenizer.tokenize(["a dog"], 16)[0].ids
        with pytest.raises(FaceterError) as caught:
            tokenizer.tokenize(["x" * 5000], 16)
        assert caught.value.kind is ProblemKind.INFERENCE_FAILED


def test_a_process_that_was_killed_is_started_again(bert: Tokenizer) -> None:
    expected = bert.tokenize(["a dog"], 16)
    process = bert._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(FaceterError, match="crashed or needed too much memory"):
        bert.tokenize(["a dog"], 16)
    assert bert.tokenize(["a dog"], 16) == expected


def test_closing_ends_the_process() -> None:
    with Tokenizer(word_piece(), seconds=60) as tokenizer:
        tokenizer.tokenize(["a dog"], 16)
        process = tokenizer._process
        assert process is not None
        assert process.poll() is None
    assert process.poll() is not None


def test_the_process_ends_with_the_one_that_asks() -> None:
    tokenizer = Tokenizer(word_piece(), seconds=60)
    tokenizer.tokenize(["a dog"], 16)
    process = tokenizer._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    for _ in range(100):
        if process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() == 0
    tokenizer.close()
