"""Concepts of single texts: their words and their tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from faceter.datasets.texts import TaggedText
from faceter.text.tokenizer import TokenizedText
from workers.explanation.probe.pair_concepts import STOP_WORDS

_PARTS: Final = re.compile(r"\w+")
_KINDS: Final = ("tok", "tag")


def words_of_tokens(text: str, tokens: TokenizedText) -> set[str]:
    """Return the words of a text that the model sees, in lower case, without stop words.

    The tokenizer's pieces are joined to words. Punctuation is left out, also where the tokenizer splits at blanks only.

    Args:
        text: The text.
        tokens: The same, tokenized with its words.
    """
    words = {
        part.lower() for start, end in (tokens.words or [[]])[0] for part in _PARTS.findall(text[start:end].strip())
    }
    return words - STOP_WORDS


def concepts_of_text(sample: TaggedText, words: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the concepts of a text with their categories, each once: `tok:WORD` and `tag:TAG`."""
    for word in sorted(words):
        yield f"tok:{word}", "tok"
    for tag in sorted(set(sample.tags) - STOP_WORDS):
        yield f"tag:{tag}", "tag"


def list_text_concepts(concepts: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return the concepts of all texts with their categories: words, tags; the most frequent first."""
    counts = Counter(concept for of_text in concepts for concept in of_text)
    return sorted(counts, key=lambda concept: (_KINDS.index(concept[1]), -counts[concept], concept[0]))
