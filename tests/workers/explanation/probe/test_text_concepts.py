import pytest

from faceter.datasets.texts import TaggedText
from faceter.text.tokenizer import TokenizedText, Tokenizer
from tests.text.tokenizer_files import byte_level, changed, word_piece
from workers.explanation.probe.text_concepts import concepts_of_text, list_text_concepts, words_of_tokens

BLANKS_ONLY = changed(word_piece(), pre_tokenizer={"type": "WhitespaceSplit"})


def tokenized(content: bytes, text: str, max_length: int = 64) -> TokenizedText:
    with Tokenizer(content, seconds=60) as tokenizer:
        return tokenizer.tokenize([text], max_length, words=True)[0]


@pytest.mark.parametrize("content", [word_piece(), byte_level(), BLANKS_ONLY])
def test_words_are_whole_in_lower_case_and_without_stop_words(content: bytes) -> None:
    text = "An unbelievable DOG, barking at the moon."
    found = words_of_tokens(text, tokenized(content, text))
    assert found == {"unbelievable", "dog", "barking", "at", "moon"}


def test_words_that_the_model_does_not_see_are_left_out() -> None:
    text = "dog dog dog rain"
    assert words_of_tokens(text, tokenized(word_piece(), text, 4)) == {"dog"}


def test_concepts_of_a_text_are_its_words_and_tags() -> None:
    sample = TaggedText("the dog runs", ("DT", "NN", "VB"))
    assert list(concepts_of_text(sample, {"runs", "dog"})) == [
        ("tok:dog", "tok"),
        ("tok:runs", "tok"),
        ("tag:DT", "tag"),
        ("tag:NN", "tag"),
        ("tag:VB", "tag"),
    ]


def test_words_come_first_and_the_most_frequent_of_them() -> None:
    texts = [[("tok:a", "tok"), ("tag:X", "tag")], [("tok:b", "tok"), ("tag:X", "tag")], [("tok:b", "tok")]]
    assert list_text_concepts(texts) == [("tok:b", "tok"), ("tok:a", "tok"), ("tag:X", "tag")]
