"""Datasets of kind ``text_pairs``: a zip of premises and hypotheses, and the words that a model knows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.pair_lines import PAIRS, SIDES, PairReader, TextPair, at_line, invalid, lines_of
from faceter.datasets.samples import DatasetSummary, ProgressFunction, first_few

Ids = NDArray[np.int64]

PADDING, UNKNOWN = 0, 1
"""Ids of what fills up a sentence and of every word that is not in the vocabulary."""

_VOCABULARY, _VECTORS = "vocab.txt", "vectors.txt"
_INTEGERS: Final = ("int32", "int64")

_MAX_PAIRS_BYTES = 1 << 28
_MAX_VOCABULARY_BYTES = 1 << 26
_MAX_VECTORS_BYTES = 1 << 30
_TOLD_EVERY = 1000
"""Words between two reports of progress."""


@dataclass(frozen=True)
class TooLong:
    """A sentence that a model's input does not take."""

    pair: int
    """Position of the pair."""
    side: str
    """``premise`` or ``hypothesis``."""
    tokens: int
    """How many it has."""
    most: int
    """How many the model takes."""


class TextPairsDataset:
    """Pairs of sentences, in the order of the file, all in memory; vectors of words are read when asked for.

    ``pairs.jsonl`` has an object a line with ``premise`` and ``hypothesis``, tokens separated by white space, and
    optional ``label``, ``premise_tags`` and ``hypothesis_tags``, as many tags as tokens. ``vocab.txt`` has a word a
    line; the line's number from 0 is its id, of which 0 pads and 1 stands for unknown words. ``vectors.txt``, if there
    is one, has a word and its numbers a line, as GloVe writes it. All may lie in one folder.

    Args:
        archive: The archive; closed together with the dataset.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the file and the line at fault.
    """

    def __init__(self, archive: SafeArchive) -> None:
        self._archive = archive
        self._root = _root(archive)
        self.notes: list[str] = list(archive.notes)
        self.vocabulary: dict[str, int] = _vocabulary(self._lines(_VOCABULARY, _MAX_VOCABULARY_BYTES))
        """Id of each word."""
        reader = PairReader()
        for line, text in self._lines(PAIRS, _MAX_PAIRS_BYTES):
            if text.strip():
                reader.read(line, text)
        self.pairs: list[TextPair] = reader.pairs
        """The pairs, in the order of the file."""
        if not self.pairs:
            raise invalid(f"{PAIRS} holds no pairs. Put in one a line.")
        numbers = {name: number for number, name in enumerate(sorted({*reader.labels}))}
        self.classes: list[str] = list(numbers)
        """Names of the classes, sorted; empty if the pairs are not labelled."""
        self.labels: list[int] | None = [numbers[label] for label in reader.labels] or None
        """Class of each pair; None if there are none."""
        self.unknown_words: Counter[str] = Counter(
            {word: count for word, count in reader.words.items() if word not in self.vocabulary}
        )
        """Words that are not in the vocabulary, with how often they are there."""
        self.longest: tuple[int, int] = (
            max(len(pair.premise) for pair in self.pairs),
            max(len(pair.hypothesis) for pair in self.pairs),
        )
        """Tokens of the longest premise and of the longest hypothesis."""
        self._note(reader)

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open the dataset in a zip file, without reading its vectors.

        Raises:
            FaceterError: If the archive is not safe, or has not the form of this kind.
        """
        archive = SafeArchive(
            path, max_unpacked_bytes=settings.max_unpacked_bytes, max_entries=settings.max_archive_entries
        )
        try:
            return cls(archive)
        except BaseException:
            archive.close()
            raise

    def __len__(self) -> int:
        return len(self.pairs)

    def verify(self, progress: ProgressFunction | None = None) -> DatasetSummary:
        """Read every vector once, one after the other, and say what the dataset holds.

        Args:
            progress: Is told the fraction done.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the first line of ``vectors.txt`` at fault.
        """
        for done, read in enumerate(self._vectors(), start=1):
            if progress is not None and done % _TOLD_EVERY == 0:
                progress(read.share)
        if progress is not None:
            progress(1.0)
        return self.summary()

    def summary(self) -> DatasetSummary:
        """Say how many pairs there are, in all and of each class."""
        counts = Counter(self.labels or [])
        return DatasetSummary(
            samples=len(self),
            classes=list(self.classes),
            class_counts={name: counts[number] for number, name in enumerate(self.classes)},
            notes=list(self.notes),
        )

    def sample_labels(self, model_labels: Sequence[str] | None) -> Ids | None:
        """Return the class of each pair, numbered in the order of the model's labels.

        Args:
            model_labels: The model's labels; without them classes are numbered in the order of their names.

        Returns:
            int64 [N], or None if the pairs are not labelled.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """
        if self.labels is None:
            return None
        labels = np.array(self.labels, np.int64)
        if model_labels is None:
            return labels
        numbers = {label: number for number, label in enumerate(model_labels)}
        strangers = [name for name in self.classes if name not in numbers]
        if strangers:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Labels of pairs that are no labels of the model: {first_few(strangers)}. "
                f"Its labels are {first_few(list(model_labels))}.",
            )
        return np.array([numbers[name] for name in self.classes], np.int64)[labels]

    @property
    def has_vectors(self) -> bool:
        """Whether there are vectors of words."""
        return self._root + _VECTORS in self._archive

    def vectors(self) -> tuple[list[str], NDArray[np.float32]] | None:
        """Return the words that have vectors, V of them in the order of the file, and these, float32 [V, D].

        None if the dataset has no vectors. Nothing is kept: each call reads the file.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the line at fault, ``INVALID_ARCHIVE`` if the file is damaged.
        """
        if not self.has_vectors:
            return None
        words: list[str] = []
        values = bytearray()
        for read in self._vectors():
            words.append(read.word)
            values += read.vector.tobytes()
        return words, np.frombuffer(values, np.float32).reshape(len(words), -1)

    def encoded(self, indices: Sequence[int], premise_length: int, hypothesis_length: int) -> tuple[Ids, Ids]:
        """Return sentences as ids, filled up with 0; words that are not in the vocabulary are 1.

        What is longer is cut off; where a model fixes a length, `inputs_of` refuses such sentences before.

        Args:
            indices: Which pairs, B of them.
            premise_length: Ids of each premise.
            hypothesis_length: Ids of each hypothesis.

        Returns:
            int64 [B, premise_length] and int64 [B, hypothesis_length].
        """
        chosen = [self.pairs[index] for index in indices]
        return (
            self._ids([pair.premise for pair in chosen], premise_length),
            self._ids([pair.hypothesis for pair in chosen], hypothesis_length),
        )

    def inputs_of(self, specs: Sequence[TensorSpec], *, cut: bool = False) -> tuple[TensorSpec, TensorSpec]:
        """Return the inputs of a model that take the premise and the hypothesis.

        They are told by names that contain these words, else by their order.

        Args:
            specs: The model's inputs.
            cut: Whether sentences may have more tokens than an input of fixed length takes, and are cut off there.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if the model takes anything else, or a sentence has more tokens than an
                input of fixed length takes and may not be cut.
        """
        if len(specs) != len(SIDES) or not all(spec.dtype in _INTEGERS and len(spec.shape) == 2 for spec in specs):
            takes = ", ".join(f"'{spec.name}' {spec.dtype} {_shape(spec)}" for spec in specs)
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                "Pairs of texts are for a model with two inputs [N, length] of whole numbers, one of premises and one "
                f"of hypotheses; this one takes {takes}.",
            )
        first, second = specs
        premise, hypothesis = SIDES
        turned = (_says(second, premise) and not _says(first, premise)) or (
            _says(first, hypothesis) and not _says(second, hypothesis)
        )
        found = (second, first) if turned else (first, second)
        if not cut:
            self._check_lengths(found)
        return found

    def too_long_for(self, specs: tuple[TensorSpec, TensorSpec]) -> list["TooLong"]:
        """Return the sentences that have more tokens than a model's inputs of fixed length take.

        Args:
            specs: What `inputs_of` returned.
        """
        limits = [spec.shape[1] for spec in specs]
        if not any(isinstance(most, int) and most < has for most, has in zip(limits, self.longest, strict=True)):
            return []
        return [
            TooLong(index, side, tokens, most)
            for index, pair in enumerate(self.pairs)
            for side, tokens, most in zip(SIDES, (len(pair.premise), len(pair.hypothesis)), limits, strict=True)
            if isinstance(most, int) and tokens > most
        ]

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check_lengths(self, specs: tuple[TensorSpec, TensorSpec]) -> None:
        """See that every sentence fits inputs of fixed length."""
        too_long = self.too_long_for(specs)
        if not too_long:
            return
        first = too_long[0]
        others = len({one.pair for one in too_long}) - 1
        more = f" So it is with {others:,} other pair{'s' if others > 1 else ''}." if others else ""
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The {first.side} of pair {first.pair} (counted from 0) has {first.tokens} tokens, and the model takes "
            f"{first.most}.{more} Leave such pairs out, upload the model with longer inputs, or have sentences cut off "
            "with `cut_sentences`.",
        )

    def _ids(self, sentences: Sequence[tuple[str, ...]], length: int) -> Ids:
        ids = np.full((len(sentences), length), PADDING, np.int64)
        for row, words in zip(ids, sentences, strict=True):
            known = [self.vocabulary.get(word, UNKNOWN) for word in words[:length]]
            row[: len(known)] = known
        return ids

    def _lines(self, name: str, most: int) -> Iterator[tuple[int, str]]:
        """Yield the lines of a file with their numbers from 1."""
        return lines_of(self._archive.stream(self._root + name, max_bytes=most), name)

    def _vectors(self) -> Iterator["_WordVector"]:
        """Yield the words of ``vectors.txt`` and their vectors, none if there is no such file."""
        if not self.has_vectors:
            return
        seen: set[str] = set()
        length = read = 0
        size = self._archive.size(self._root + _VECTORS)
        for line, text in self._lines(_VECTORS, _MAX_VECTORS_BYTES):
            read += len(text) + 1
            if not text.strip():
                continue
            word, *numbers = text.rstrip().split(" ")
            if seen and len(numbers) != length:
                raise at_line(_VECTORS, line, f"has {len(numbers)} numbers after its word, the first has {length}")
            if not word or not numbers:
                raise at_line(_VECTORS, line, "must be a word and its numbers, separated by single blanks")
            if word in seen:
                raise at_line(_VECTORS, line, f"has '{word}' again")
            seen.add(word)
            length = len(numbers)
            yield _WordVector(word, _vector(numbers, line), min(read / size, 1.0))
        if not seen:
            raise invalid(f"{_VECTORS} is empty. Put in a word and its numbers a line, or leave it out.")

    def _note(self, reader: "PairReader") -> None:
        if self.unknown_words:
            places = sum(self.unknown_words.values())
            common = [word for word, _ in self.unknown_words.most_common()]
            self.notes.append(
                f"not in {_VOCABULARY}, so taken for unknown: {len(common):,} word{'s' if len(common) > 1 else ''} "
                f"at {places:,} of {sum(reader.words.values()):,} places: {first_few(common)}"
            )
        if reader.strangers:
            self.notes.append(f"passed over, not known in {PAIRS}: {first_few(sorted(reader.strangers))}")
        known = {self._root + name for name in (PAIRS, _VOCABULARY, _VECTORS)}
        others = [name for name in self._archive.names if name not in known]
        if others:
            self.notes.append(f"passed over, not known: {first_few(others)}")


@dataclass(frozen=True)
class _WordVector:
    word: str
    vector: NDArray[np.float32]
    share: float
    """How much of the file was read up to here."""


def _root(archive: SafeArchive) -> str:
    """Return the folder that holds everything, with a slash, or nothing."""
    tops = {name.split("/")[0] for name in archive.names}
    root = f"{tops.pop()}/" if len(tops) == 1 and PAIRS not in archive else ""
    for name in (PAIRS, _VOCABULARY):
        if root + name not in archive:
            raise invalid(f"The archive holds no {name}. It needs {PAIRS}, the pairs, and {_VOCABULARY}, the words.")
    return root


def _vocabulary(lines: Iterator[tuple[int, str]]) -> dict[str, int]:
    """Return the id of each word, its line from 0."""
    found: dict[str, int] = {}
    for line, text in lines:
        if len(text.split()) != 1:
            what = "holds more than one word" if text.strip() else "is empty"
            raise at_line(_VOCABULARY, line, f"{what}. A word a line: its number, from 0, is the word's id")
        word = text.strip()
        if word in found:
            raise at_line(_VOCABULARY, line, f"has '{word}' again, which is on line {found[word] + 1} already")
        found[word] = line - 1
    if len(found) <= UNKNOWN:
        raise invalid(f"{_VOCABULARY} needs two lines at least: the first pads, the second is for unknown words.")
    return found


def _vector(numbers: Sequence[str], line: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            values = np.array([float(number) for number in numbers], np.float32)
    except ValueError as error:
        raise at_line(_VECTORS, line, "holds what is no number") from error
    if not np.isfinite(values).all():
        raise at_line(_VECTORS, line, "holds a number that is not finite")
    return values


def _says(spec: TensorSpec, word: str) -> bool:
    return word in spec.name.lower()


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in spec.shape) + "]"
