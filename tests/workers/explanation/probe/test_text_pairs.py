"""Concepts of sentence pairs."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.graded_sets import model_of
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.text_pairs import TextPairsDataset
from tests.workers.explanation import scenes
from workers.explanation.probe.pair_concepts import nearest_words, overlap
from workers.explanation.probe.text_pairs import TextPairProbeDataset


def probe_dataset(
    path: Path, operators: list[str], *, vectors: bool = True
) -> tuple[TextPairsDataset, TextPairProbeDataset]:
    file = path / "pairs.zip"
    file.write_bytes(scenes.sentences(120, vectors=vectors))
    data = TextPairsDataset.open(file, Settings(_env_file=None))
    assert isinstance(data, TextPairsDataset)
    model = model_of(scenes.word_network().SerializeToString(), scenes.word_metadata())
    request = ExplanationRequest.model_validate({"dataset_id": "d", "layer": "hidden", "operators": operators})
    return data, TextPairProbeDataset(data, model, request)


def test_concepts_are_words_tags_and_overlaps_without_stop_words(tmp_path: Path) -> None:
    data, found = probe_dataset(tmp_path, ["or"])
    names = [concept.name for concept in found.concepts]
    with data:
        for index, labels in enumerate(found.read(range(20)).concepts):
            pair = data.pairs[index]
            expected = {f"pre:tok:{word}" for word in pair.premise} | {f"hyp:tok:{word}" for word in pair.hypothesis}
            expected |= {"pre:tag:NN", "pre:tag:VB", "hyp:tag:NN", "hyp:tag:VB"}
            share = overlap(pair.premise, pair.hypothesis)
            expected |= {f"overlap-{percent}" for percent in (25, 50, 75) if share > percent / 100}
            assert {names[number] for number in labels.sample_level} == expected - {"pre:tok:.", "hyp:tok:."}


def test_neighbors_hold_where_a_word_or_a_neighbour_is_on_the_same_side(tmp_path: Path) -> None:
    data, found = probe_dataset(tmp_path, ["or", "neighbors"])
    with data:
        vectors = data.vectors()
        assert vectors is not None
        nearest = nearest_words(*vectors)
        neighborhoods = [(number, one) for number, one in enumerate(found.concepts) if one.neighbors_of is not None]
        assert neighborhoods
        labels = found.read(range(len(data))).concepts
        for number, concept in neighborhoods:
            side, _, word = (concept.neighbors_of or "").split(":")
            around = {word, *nearest[word]}
            for pair, label in zip(data.pairs, labels, strict=True):
                words = pair.premise if side == "pre" else pair.hypothesis
                assert (number in label.sample_level) == bool(around & set(words))


def test_without_the_operator_there_are_no_neighbors(tmp_path: Path) -> None:
    data, found = probe_dataset(tmp_path, ["or", "and"])
    with data:
        assert all(concept.neighbors_of is None for concept in found.concepts)


def test_the_nearest_words_are_those_with_the_highest_cosine() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(12)] + ["nothing"]
    vectors = np.concatenate([rng.normal(size=(12, 4)), np.zeros((1, 4))]).astype(np.float32)
    found = nearest_words(words, vectors)
    assert "nothing" not in found
    for row, word in enumerate(words[:12]):
        cosines = vectors[:12] @ vectors[row] / np.linalg.norm(vectors[:12], axis=1)
        order = [words[other] for other in np.argsort(-cosines) if other != row]
        assert found[word] == order[:5]


@pytest.mark.parametrize(
    ("premise", "hypothesis", "share"),
    [("a dog runs .", "the dog sleeps .", 0.5), ("a b", "c d", 0.0), ("x y z", "x y z", 1.0), ("x", "the .", 0.0)],
)
def test_overlap_is_the_fraction_of_hypothesis_words_in_the_premise(
    premise: str, hypothesis: str, share: float
) -> None:
    assert overlap(premise.split(), hypothesis.split()) == share
