"""Explanation and analysis jobs on a real store, on models whose units detect known concepts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from redis import Redis

from benchmarks.explained import MIDDLE, fastestdet_on_camvid, nli
from faceter.contracts.analyses import (
    Abstraction,
    AbstractionsResult,
    Analysis,
    CopyPasteResult,
    DriftResult,
    InterpretabilityResult,
)
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import AnalysisJob, ExplanationJob
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.settings import Settings
from faceter.contracts.units import Unit
from faceter.explanations.masks import MASKS, read_masks
from faceter.explanations.units import read_units
from faceter.store.library import Library
from tests.workers.explanation import scenes
from tests.workers.stored import stored_dataset, stored_model, taken_job
from workers.explanation.analyses.pipeline import analyse
from workers.explanation.pipeline import explain
from workers.explanation.probe.dataset import ProbeBatch
from workers.explanation.probe.images import ImageProbeDataset
from workers.jobs.context import JobContext


class JobRunner:
    """A library with models and datasets, and jobs that run at once."""

    def __init__(self, redis: Redis, settings: Settings, library: Library) -> None:
        self.redis, self.settings, self.library = redis, settings, library

    def model(self, graph: onnx.ModelProto, metadata: ModelMetadata) -> Model:
        return stored_model(self.library, graph, metadata)

    def dataset(self, content: bytes, kind: DatasetKind) -> Dataset:
        return stored_dataset(self.library, content, kind)

    def context(self, job: ExplanationJob | AnalysisJob) -> JobContext:
        return taken_job(self.redis, self.settings, self.library, job)

    def explained(self, model: Model, dataset: Dataset, **options: object) -> tuple[Explanation, list[Unit]]:
        request = ExplanationRequest.model_validate({"dataset_id": dataset.id, **options})
        job = ExplanationJob(model_id=model.id, request=request)
        context = self.context(job)
        context.succeed(explain(context, job))
        context.discard()
        found = self.library.explanations.get(context.new_id("exp"))
        return found, read_units(self.library.blobs.path(found.sha256))

    def analysed(self, explanation: Explanation, **options: object) -> Analysis:
        job = AnalysisJob.model_validate(
            {
                "explanation_id": explanation.id,
                "model_id": explanation.model_id,
                "dataset_id": explanation.settings.dataset_id,
                "request": options,
            }
        )
        context = self.context(job)
        context.succeed(analyse(context, job))
        context.discard()
        return self.library.analyses.get(context.new_id("anl"))


@pytest.fixture
def runner(redis: Redis, settings: Settings, library: Library) -> JobRunner:
    return JobRunner(redis, settings, library)


@pytest.fixture
def colors(runner: JobRunner) -> Model:
    return runner.model(scenes.color_network(), scenes.color_metadata())


@pytest.fixture
def streets(runner: JobRunner) -> Dataset:
    return runner.dataset(scenes.scenes(30), DatasetKind.CONCEPTS)


@pytest.fixture
def words(runner: JobRunner) -> Model:
    return runner.model(scenes.word_network(), scenes.word_metadata())


@pytest.fixture
def pairs(runner: JobRunner) -> Dataset:
    return runner.dataset(scenes.sentences(300), DatasetKind.TEXT_PAIRS)


def test_units_detect_their_concepts(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    found, units = runner.explained(colors, streets, layer="colors", threshold=0.2, resolution=[48, 48])
    assert [unit.formula for unit in units] == ["car", "tree AND day", "day AND sky", None]
    assert units[0].score > 0.5
    assert units[3].reason == "never fires"
    assert units[3].examples == []
    assert all(unit.score <= unit.ceiling <= 1 for unit in units)
    assert all(unit.scores == sorted(unit.scores) for unit in units)
    assert [weight.weight for weight in units[1].classes] == [0, 1, 0]
    assert (found.about, found.samples, found.pixels) == ("images", 30, 30 * 48 * 48)
    assert found.concepts == {"object": ["car", "tree", "sky"], "scene": ["day", "night"]}
    (layer,) = found.layers
    assert (layer.units, layer.explained, layer.shape) == (4, 3, [4, 24, 24])
    assert layer.proven == sum(unit.optimal is True for unit in units)
    assert found.settings.operators == ["or", "and", "and_not"]
    assert found.provenance is not None
    assert found.provenance.settings["resolution"] == [48, 48]
    assert found.provenance.inputs == {"model": colors.sha256, "dataset": streets.sha256}


def test_masks_of_the_samples_with_the_highest_activations(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    found, units = runner.explained(colors, streets, layer=["colors", "smooth"], threshold=0.2)
    masks = read_masks(runner.library.blobs.path(found.files[MASKS].sha256))
    first, _ = masks.layers
    assert first.unit_masks.shape == (4, 6, 112, 112)
    assert first.fires.shape == (4, 30)
    assert [example.index for example in units[0].examples] == first.strongest[0].tolist()
    both = (first.unit_masks[0] & first.formula_masks[0]).sum() / (first.unit_masks[0] | first.formula_masks[0]).sum()
    assert both > 0.5
    assert not first.unit_masks[3].any()
    assert masks.predicted is not None


def test_selected_units_and_an_optimal_search(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    _, beam = runner.explained(colors, streets, layer="colors", threshold=0.2)
    _, best = runner.explained(colors, streets, layer="colors", threshold=0.2, units=[2, 0, 2], search="optimal")
    assert [unit.unit for unit in best] == [2, 0]
    assert all(unit.optimal for unit in best)
    assert best[0].score >= beam[2].score
    assert best[1].score >= beam[0].score


def test_derived_concepts(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    found, _ = runner.explained(colors, streets, layer="colors", derived_concepts=["color", "position"])
    assert set(found.concepts) == {"object", "scene", "color", "row", "column"}
    assert {"red", "green", "blue"} <= set(found.concepts["color"])
    assert found.concepts["row"] == ["top", "middle", "bottom"]
    assert found.concept_count == 3 + 2 + 11 + 3 + 3


def test_a_network_of_signals(runner: JobRunner) -> None:
    model = runner.model(scenes.peak_network(), ModelMetadata())
    data = runner.dataset(scenes.beats(40), DatasetKind.SIGNALS)
    found, units = runner.explained(model, data, layer="peaks", threshold=0.5)
    assert [unit.formula for unit in units] == ["wave", "dip"]
    assert min(unit.score for unit in units) > 0.9
    assert (found.about, found.pixels) == ("signals", 40 * 64)


def test_signals_too_large_for_memory_are_read_from_their_file(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = runner.model(scenes.peak_network(), ModelMetadata())
    data = runner.dataset(scenes.beats(40), DatasetKind.SIGNALS)
    cached, _ = runner.explained(model, data, layer="peaks", derived_concepts=["position"])
    monkeypatch.setattr("workers.explanation.probe.signals._CACHED_BYTES", 0)
    uncached, _ = runner.explained(model, data, layer="peaks", derived_concepts=["position"])
    assert uncached.sha256 == cached.sha256


def test_a_network_of_sentence_pairs(runner: JobRunner, words: Model, pairs: Dataset) -> None:
    found, units = runner.explained(words, pairs, layer="hidden", operators=["or", "and", "and_not", "neighbors"])
    assert [unit.formula for unit in units[:2]] == ["hyp:tok:nobody", "pre:tok:dog"]
    assert [unit.score for unit in units[:2]] == [1, 1]
    assert set((units[2].formula or "").split(" AND ")) == {"hyp:tok:nobody", "pre:tok:dog"}
    contradiction = units[0].classes[2]
    assert (contradiction.label, contradiction.weight) == ("contradiction", 4)
    assert contradiction.pmi is not None
    assert contradiction.pmi > 0.5
    assert units[0].examples[0].texts is not None
    assert "nobody" in units[0].examples[0].texts[1]
    assert (found.about, found.settings.threshold) == ("text", 0.0)
    assert any("not in the vocabulary" in warning for warning in found.warnings)


def test_equal_requests_give_equal_files(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    first, _ = runner.explained(colors, streets, layer="colors")
    second, _ = runner.explained(colors, streets, layer="colors")
    assert first.sha256 == second.sha256
    assert first.files[MASKS].sha256 == second.files[MASKS].sha256


def test_a_killed_job_resumes(
    runner: JobRunner, colors: Model, streets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = runner.explained(colors, streets, layer=["colors", "smooth"])
    runner.settings = runner.settings.model_copy(update={"checkpoint_seconds": 0.0})
    request = ExplanationRequest(dataset_id=streets.id, layer=["colors", "smooth"])
    job = ExplanationJob(model_id=colors.id, request=request)
    context = runner.context(job)
    read: list[int] = []
    original = ImageProbeDataset.read

    def recording_read(self: ImageProbeDataset, indices: Sequence[int]) -> ProbeBatch:
        read.extend(indices)
        return original(self, indices)

    def killed(step: str, fraction: float, training: object = None) -> None:
        if step == "running the model" and fraction > 0.4:
            raise KeyboardInterrupt

    monkeypatch.setattr(ImageProbeDataset, "read", recording_read)
    with monkeypatch.context() as dying:
        dying.setattr(context, "progress", killed)
        dying.setattr("workers.jobs.scratch.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            explain(context, job)
    first, read[:] = set(read), []
    context.succeed(explain(context, job))
    found = runner.library.explanations.get(context.new_id("exp"))
    assert found.sha256 == whole.sha256
    assert found.files[MASKS].sha256 == whole.files[MASKS].sha256
    assert first
    assert min(read) > 10
    assert max(read) == 29
    context.discard()


def test_a_unit_that_does_not_exist_is_refused(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    with pytest.raises(FaceterError, match="4 units, 0 to 3") as error:
        runner.explained(colors, streets, layer="colors", units=[9])
    assert error.value.kind is ProblemKind.INVALID_REQUEST


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1e9}, "anywhere in this dataset. Give a lower `threshold`"),
        ({"min_firings": 10**9}, "min_firings"),
    ],
)
def test_nothing_to_explain_is_an_error_with_a_remedy(
    runner: JobRunner, colors: Model, streets: Dataset, options: dict[str, object], words: str
) -> None:
    with pytest.raises(FaceterError, match="nothing to explain") as error:
        runner.explained(colors, streets, layer="colors", **options)
    assert words in error.value.detail


def test_the_scratch_folder_is_emptied(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    runner.explained(colors, streets, layer="colors")
    assert not list((runner.settings.data_dir / "scratch").glob("*"))


def test_abstractions(runner: JobRunner, words: Model, pairs: Dataset) -> None:
    found, _ = runner.explained(words, pairs, layer="hidden")
    result = runner.analysed(found, kind="abstractions").result
    assert isinstance(result, AbstractionsResult)
    assert result.by == "vectors"
    assert [unit.kind for unit in result.units] == [Abstraction.SINGLE, Abstraction.SINGLE, Abstraction.SPECIALIZED]


def test_interpretability_of_pairs(runner: JobRunner, words: Model, pairs: Dataset) -> None:
    found, _ = runner.explained(words, pairs, layer="hidden")
    analysis = runner.analysed(found, kind="interpretability")
    assert isinstance(analysis.result, InterpretabilityResult)
    assert analysis.result.units[0].accuracy == 1
    assert 0 < analysis.result.overall < 1
    assert set(analysis.files) == {"interpretability.png"}


def test_interpretability_needs_labels(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    found, _ = runner.explained(colors, streets, layer="colors")
    with pytest.raises(FaceterError, match="labelled"):
        runner.analysed(found, kind="interpretability")


def test_copy_paste_changes_predictions_to_the_class(runner: JobRunner, words: Model, pairs: Dataset) -> None:
    found, _ = runner.explained(words, pairs, layer="hidden")
    result = runner.analysed(found, kind="copy_paste", label="contradiction", tries=100).result
    assert isinstance(result, CopyPasteResult)
    assert "insert 'nobody' into the hypothesis" in result.changes
    assert result.proposed.rate > 0.9
    assert result.control.rate < result.proposed.interval[0]
    assert result.examples[0].predicted_after == "contradiction"
    assert "nobody" in result.examples[0].after[1]
    again = runner.analysed(found, kind="copy_paste", label="contradiction", tries=100).result
    assert again == result


def test_drift_is_measured_per_unit(runner: JobRunner, colors: Model, streets: Dataset) -> None:
    found, units = runner.explained(colors, streets, layer="colors", threshold=0.2)
    other = scenes.color_network()
    (weight,) = [tensor for tensor in other.graph.initializer if tensor.name == "weight"]
    changed = onnx.numpy_helper.to_array(weight).copy()
    changed[0] = -changed[0]
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, "weight"))
    inverted = runner.model(other, scenes.color_metadata())
    result = runner.analysed(found, kind="drift", model_ids=[colors.id, inverted.id]).result
    assert isinstance(result, DriftResult)
    same, drifted = result.models
    assert (same.mean_iou, same.same_formula, same.score_change) == (1, 1, 0)
    assert [drift.formula_before for drift in same.units] == [unit.formula for unit in units[:3]]
    assert drifted.units[0].iou < 0.2
    assert not drifted.units[0].same_formula
    assert [unit.iou for unit in drifted.units[1:3]] == [1, 1]


def test_the_detector_on_street_scenes(runner: JobRunner, shared_data: Path) -> None:
    subject = fastestdet_on_camvid(shared_data)
    model = runner.model(onnx.load_model_from_string(subject.content), subject.model.metadata)
    data = runner.dataset(subject.data.read_bytes(), DatasetKind.CONCEPTS)
    found, units = runner.explained(model, data, layer=MIDDLE)
    assert found.pixels == 123 * 112 * 112
    assert found.concept_count == 13
    scores = np.array([unit.score for unit in units])
    assert scores.max() > 0.05
    assert (scores <= [unit.ceiling for unit in units]).all()


def test_the_classifier_of_sentence_pairs(runner: JobRunner, shared_data: Path) -> None:
    subject = nli(shared_data)
    model = runner.model(onnx.load_model_from_string(subject.content), subject.model.metadata)
    data = runner.dataset(subject.data.read_bytes(), DatasetKind.TEXT_PAIRS)
    found, units = runner.explained(model, data, layer="hidden", units=list(range(8)), max_length=2, cut_sentences=True)
    assert found.samples == 6000
    assert max(unit.score for unit in units) > 0.1
    assert all(len(unit.classes) == 3 for unit in units if unit.formula)
