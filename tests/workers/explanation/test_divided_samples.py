"""An explanation by shards of samples is the undivided one to the bit."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from redis import Redis

from benchmarks.explained import MIDDLE, fastestdet_on_camvid
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import ExplanationJob
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.workers.explanation import scenes
from tests.workers.jobs.local_division import LocalDivision
from tests.workers.stored import stored_dataset, stored_model, taken_job
from workers.explanation.pattern_table import PatternTable
from workers.explanation.pipeline import explain
from workers.explanation.probe.dataset import ConceptRange, SampleConcepts


class Explainer:
    """Runs explanation jobs, divided or not."""

    def __init__(self, redis: Redis, settings: Settings, library: Library) -> None:
        self.redis, self.settings, self.library = redis, settings, library

    def explained(
        self, model: Model, dataset: Dataset, division: LocalDivision | None, **options: object
    ) -> Explanation:
        request = ExplanationRequest.model_validate({"dataset_id": dataset.id, **options})
        job = ExplanationJob(model_id=model.id, request=request)
        context = taken_job(self.redis, self.settings, self.library, job)
        if division is None:
            result = explain(context, job)
        else:
            context.division = division
            result = division.run(lambda: explain(context, job))
        context.succeed(result)
        context.discard()
        return self.library.explanations.get(context.new_id("exp"))


@pytest.fixture
def explainer(redis: Redis, settings: Settings, library: Library) -> Explainer:
    return Explainer(redis, settings, library)


def same(one: Explanation, other: Explanation) -> bool:
    fields = set(Explanation.model_fields) - {"id", "created_at", "seconds"}
    return one.model_dump(include=fields) == other.model_dump(include=fields)


def check(explainer: Explainer, model: Model, dataset: Dataset, size: float, shards: int, **options: object) -> None:
    division = LocalDivision(size, lambda all_shards: all_shards[::-1])
    assert same(
        explainer.explained(model, dataset, division, **options),
        explainer.explained(model, dataset, None, **options),
    )
    assert {name: len(planned) for name, planned in division.rounds.items()} == {"samples": shards, "firings": shards}


@pytest.mark.parametrize(("size", "shards"), [(8, 4), (16, 2)])
def test_images(explainer: Explainer, size: float, shards: int) -> None:
    model = stored_model(explainer.library, scenes.color_network(), scenes.color_metadata())
    streets = stored_dataset(explainer.library, scenes.scenes(30), DatasetKind.CONCEPTS)
    options = {"layer": ["colors", "smooth"], "derived_concepts": ["color", "position"], "resolution": [48, 48]}
    check(explainer, model, streets, size, shards, **options)


def test_signals(explainer: Explainer) -> None:
    model = stored_model(explainer.library, scenes.peak_network(), ModelMetadata())
    beats = stored_dataset(explainer.library, scenes.beats(40), DatasetKind.SIGNALS)
    check(explainer, model, beats, 24, 2, layer="peaks")


def test_sentence_pairs(explainer: Explainer) -> None:
    model = stored_model(explainer.library, scenes.word_network(), scenes.word_metadata())
    pairs = stored_dataset(explainer.library, scenes.sentences(300), DatasetKind.TEXT_PAIRS)
    check(explainer, model, pairs, 100, 4, layer="hidden")


def test_a_detector_on_street_scenes(explainer: Explainer, shared_data: Path) -> None:
    subject = fastestdet_on_camvid(shared_data)
    model = stored_model(explainer.library, onnx.load_model_from_string(subject.content), subject.model.metadata)
    streets = stored_dataset(explainer.library, subject.data.read_bytes(), DatasetKind.CONCEPTS)
    check(explainer, model, streets, 32, 4, layer=MIDDLE, units=list(range(12)))


@pytest.mark.parametrize("label_maps", [(3, 2), (40_000, 70_000, 50_000, 90_000, 60_000)])
@pytest.mark.parametrize("seed", range(3))
def test_merged_patterns_have_the_numbers_of_one_table(label_maps: tuple[int, ...], seed: int) -> None:
    """The second table needs several keys for a pattern. Some samples have no visible pixel, some bring no pattern."""
    rng = np.random.default_rng(seed)
    firsts = np.cumsum([0, *label_maps])
    ranges = [ConceptRange(int(first), size) for first, size in zip(firsts, label_maps, strict=False)]
    samples = [
        SampleConcepts(
            np.stack([rng.integers(0, size + 1, 3)[rng.integers(0, 3, 30)] for size in label_maps]),
            ((), (1,), (0, 2))[rng.integers(3)],
        )
        for _ in range(40)
    ]
    samples[5] = samples[9] = samples[20] = samples[3]
    visible = [rng.random(30) < rng.choice([0, 0.3, 1]) for _ in samples]

    def table_of(some: range) -> tuple[PatternTable, list[np.ndarray], np.ndarray]:
        table, ids, lengths = PatternTable(ranges, sum(label_maps)), [], []
        for sample in some:
            ids.append(table.ids(samples[sample], visible[sample]))
            table.count(ids[-1])
            lengths.append(len(table))
        return table, ids, np.array(lengths)

    whole, expected, _ = table_of(range(40))
    merged, found = PatternTable(ranges, sum(label_maps)), []
    for some in (range(11), range(11, 12), range(12, 30), range(30, 40)):
        table, ids, lengths = table_of(some)
        numbers = np.append(merged.merge(table, lengths), -1)
        found += [numbers[part] for part in ids]
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    one, other = merged.patterns(), whole.patterns()
    for name in ("weights", "starts", "concepts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
