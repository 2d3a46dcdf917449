"""Datasets of kind ``text_pairs``: a zip of premises and hypotheses, and the vocabulary of a model."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec, shape_text
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive, open_archive, root_folder
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.names import label_positions
from faceter.datasets.pairs_file import PAIRS, SIDES, PairReader, TextPair, numbered_lines
from faceter.datasets.reader import owned_by
from faceter.datasets.samples import DatasetContents, ProgressFunction
from faceter.datasets.tokenized import TokenizableDataset
from faceter.datasets.vocabulary import PADDING, UNKNOWN, VECTORS, VOCABULARY, WordVector, read_vectors, read_vocabulary

Ids = NDArray[np.int64]

_INTEGERS: Final = ("int32", "int64")

_MAX_PAIRS_BYTES = 1 << 28
_MAX_VOCABULARY_BYTES = 1 << 26
_MAX_VECTORS_BYTES = 1 << 30
_PROGRESS_EVERY = 1000
"""Word vectors between two reports of progress."""


@dataclass(frozen=True)
class TooLongSentence:
    """A sentence with more tokens than the model's input takes."""

    pair: int
    """Position of the pair."""
    side: str
    """``premise`` or ``hypothesis``."""
    tokens: int
    """Its length."""
    max_tokens: int
    """The length of the model's input."""


class TextPairsDataset(TokenizableDataset):
    """Pairs of sentences, in the order of the file, all in memory; word vectors are read on demand.

    Each line of ``pairs.jsonl`` is an object with ``premise`` and ``hypothesis``, tokens separated by white space, and
    optional ``label``, ``premise_tags`` and ``hypothesis_tags``, one tag for each token. Each line of ``vocab.txt`` is
    a word, whose id is the number of the line from 0: id 0 is padding, 1 an unknown word; models with a tokenizer do
    without. Each line of the optional ``vectors.txt`` is a word and its vector, in the format of GloVe. All may lie in
    one folder.

    Args:
        archive: Closed together with the dataset.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the file and the line at fault.
    """

    def __init__(self, archive: SafeArchive) -> None:
        self._archive = archive
        self._root = _root(archive)
        self.warnings = list(archive.warnings)
        self.has_vocabulary = self._root + VOCABULARY in archive
        """Whether there is a vocabulary."""
        self.vocabulary: dict[str, int] = (
            read_vocabulary(self._lines(VOCABULARY, _MAX_VOCABULARY_BYTES)) if self.has_vocabulary else {}
        )
        """Id of each word; empty without a vocabulary."""
        reader = PairReader()
        for line, text in self._lines(PAIRS, _MAX_PAIRS_BYTES):
            if text.strip():
                reader.read(line, text)
        self.pairs: list[TextPair] = reader.pairs
        """The pairs, in the order of the file."""
        if not self.pairs:
            kind = "pairs with a label, only '-'" if reader.without_agreement else "pairs"
            raise invalid_dataset(f"{PAIRS} holds no {kind}. Put one on each line.")
        numbers = {name: number for number, name in enumerate(sorted({*reader.labels}))}
        self.classes: list[str] = list(numbers)
        """Names of the classes, sorted; empty if the pairs are not labelled."""
        self.labels: list[int] | None = [numbers[label] for label in reader.labels] or None
        """Class of each pair; None if there are none."""
        self.unknown_words: Counter[str] = Counter(
            {word: count for word, count in reader.words.items() if self.has_vocabulary and word not in self.vocabulary}
        )
        """Occurrences of each word that is not in the vocabulary."""
        self.longest: tuple[int, int] = (
            max(len(pair.premise) for pair in self.pairs),
            max(len(pair.hypothesis) for pair in self.pairs),
        )
        """Tokens of the longest premise and of the longest hypothesis."""
        self._add_warnings(reader)

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open a zip file without reading its word vectors; see `DatasetReader.open`."""
        return owned_by(open_archive(path, settings), cls)

    def __len__(self) -> int:
        return len(self.pairs)

    def text(self, index: int) -> tuple[str, str]:
        """Return premise and hypothesis, their tokens separated by blanks."""
        pair = self.pairs[index]
        return " ".join(pair.premise), " ".join(pair.hypothesis)

    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Read all word vectors once; see `DatasetReader.verify`."""
        for done, vector in enumerate(self._word_vectors(), start=1):
            if progress is not None and done % _PROGRESS_EVERY == 0:
                progress(vector.fraction)
        if progress is not None:
            progress(1.0)
        return self.summary()

    def summary(self) -> DatasetContents:
        """Return the number of pairs, in all and of each class."""
        counts = Counter(self.labels or [])
        return DatasetContents(
            samples=len(self),
            classes=list(self.classes),
            class_counts={name: counts[number] for number, name in enumerate(self.classes)},
            warnings=list(self.warnings),
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
        numbers = label_positions(model_labels)
        unknown = [name for name in self.classes if name not in numbers]
        if unknown:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Labels of pairs that are no labels of the model: {quoted_names(unknown)}. "
                f"Its labels are {quoted_names(list(model_labels))}.",
            )
        return np.array([numbers[name] for name in self.classes], np.int64)[labels]

    @property
    def has_vectors(self) -> bool:
        """Whether there are word vectors."""
        return self._root + VECTORS in self._archive

    def vectors(self) -> tuple[list[str], NDArray[np.float32]] | None:
        """Return the V words with vectors, in the order of the file, and the vectors, float32 [V, D].

        None if the dataset has no vectors. Each call reads the file.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the line at fault, ``INVALID_ARCHIVE`` if the file is damaged.
        """
        if not self.has_vectors:
            return None
        words: list[str] = []
        values = bytearray()
        for item in self._word_vectors():
            words.append(item.word)
            values += item.vector.tobytes()
        return words, np.frombuffer(values, np.float32).reshape(len(words), -1)

    def encoded(self, indices: Sequence[int], premise_length: int, hypothesis_length: int) -> tuple[Ids, Ids]:
        """Return sentences as ids, padded with 0; words that are not in the vocabulary are 1.

        Longer sentences are truncated; `matching_inputs` rejects them for inputs of fixed length.

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

    def matching_inputs(self, specs: Sequence[TensorSpec], *, cut: bool = False) -> tuple[TensorSpec, TensorSpec]:
        """Return the inputs of a model for the premise and the hypothesis.

        They are matched by names that contain these words, else by their order.

        Args:
            specs: The model's inputs.
            cut: Whether sentences with more tokens than an input of fixed length are allowed, and truncated.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if the model takes anything else, or a sentence has more tokens than an
                input of fixed length and may not be truncated.
        """
        if len(specs) != len(SIDES) or not all(spec.dtype in _INTEGERS and len(spec.shape) == 2 for spec in specs):
            inputs = ", ".join(f"'{spec.name}' {spec.dtype} {shape_text(spec.shape)}" for spec in specs)
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                "Pairs of texts are for a model with two inputs [N, length] of whole numbers, one of premises and one "
                f"of hypotheses; this one takes {inputs}.",
            )
        if not self.has_vocabulary:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"The dataset has no {VOCABULARY}, so words have no ids. Upload it again with one, or the model "
                "with its tokenizer.json.",
            )
        first, second = specs
        premise, hypothesis = SIDES
        swapped = (_name_contains(second, premise) and not _name_contains(first, premise)) or (
            _name_contains(first, hypothesis) and not _name_contains(second, hypothesis)
        )
        inputs_in_order = (second, first) if swapped else (first, second)
        if not cut:
            self._validate_lengths(inputs_in_order)
        return inputs_in_order

    def too_long_for(self, specs: tuple[TensorSpec, TensorSpec]) -> list[TooLongSentence]:
        """Return the sentences with more tokens than a model's inputs of fixed length.

        Args:
            specs: What `matching_inputs` returned.
        """
        limits = [spec.shape[1] for spec in specs]
        if not any(
            isinstance(limit, int) and limit < longest for limit, longest in zip(limits, self.longest, strict=True)
        ):
            return []
        return [
            TooLongSentence(index, side, tokens, limit)
            for index, pair in enumerate(self.pairs)
            for side, tokens, limit in zip(SIDES, (len(pair.premise), len(pair.hypothesis)), limits, strict=True)
            if isinstance(limit, int) and tokens > limit
        ]

    def close(self) -> None:
        """Close the archive, and the tokenizer."""
        super().close()
        self._archive.close()

    def _validate_lengths(self, specs: tuple[TensorSpec, TensorSpec]) -> None:
        too_long = self.too_long_for(specs)
        if not too_long:
            return
        first = too_long[0]
        others = len({one.pair for one in too_long}) - 1
        more = f" {others:,} other pair{'s are' if others > 1 else ' is'} too long as well." if others else ""
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The {first.side} of pair {first.pair} (counted from 0) has {first.tokens} tokens, and the model takes "
            f"{first.max_tokens}.{more} Leave such pairs out, upload the model with longer inputs, or have sentences "
            "truncated with `cut_sentences`.",
        )

    def _ids(self, sentences: Sequence[tuple[str, ...]], length: int) -> Ids:
        ids = np.full((len(sentences), length), PADDING, np.int64)
        for row, words in zip(ids, sentences, strict=True):
            known = [self.vocabulary.get(word, UNKNOWN) for word in words[:length]]
            row[: len(known)] = known
        return ids

    def _lines(self, name: str, max_bytes: int) -> Iterator[tuple[int, str]]:
        """Yield the lines of a file with their numbers from 1."""
        return numbered_lines(self._archive.stream(self._root + name, max_bytes=max_bytes), name)

    def _word_vectors(self) -> Iterator[WordVector]:
        """Yield the words of ``vectors.txt`` and their vectors, none if there is no such file."""
        if self.has_vectors:
            yield from read_vectors(self._lines(VECTORS, _MAX_VECTORS_BYTES), self._archive.size(self._root + VECTORS))

    def _add_warnings(self, reader: PairReader) -> None:
        if self.unknown_words:
            occurrences = sum(self.unknown_words.values())
            common = [word for word, _ in self.unknown_words.most_common()]
            self.warnings.append(
                f"not in {VOCABULARY}, so unknown to the model: {len(common):,} word{'s' if len(common) > 1 else ''}, "
                f"{occurrences:,} of {sum(reader.words.values()):,} occurrences: {quoted_names(common)}"
            )
        if reader.without_agreement:
            count, first = len(reader.without_agreement), reader.without_agreement[0]
            self.warnings.append(
                f"ignored, labelled '-' because annotators did not agree: {count:,} "
                f"pair{'s' if count > 1 else ''}, the first on line {first}"
            )
        if reader.unknown_fields:
            self.warnings.append(f"ignored, unknown fields of {PAIRS}: {quoted_names(sorted(reader.unknown_fields))}")
        known = {self._root + name for name in (PAIRS, VOCABULARY, VECTORS)}
        others = [name for name in self._archive.names if name not in known]
        if others:
            self.warnings.append(f"ignored, unknown: {quoted_names(others)}")


def _root(archive: SafeArchive) -> str:
    """Return the folder that holds everything, with a slash, or nothing."""
    root = root_folder(archive, PAIRS)
    if root is None:
        raise invalid_dataset(
            f"The archive holds no {PAIRS}. It needs {PAIRS} with pairs, and {VOCABULARY} with words for a model "
            "without a tokenizer."
        )
    return root


def _name_contains(spec: TensorSpec, word: str) -> bool:
    return word in spec.name.lower()
