"""Jobs on a small BERT: quantized on texts, explained by their words, and both compared."""

from collections.abc import Sequence

import numpy as np
import pytest
from redis import Redis

from faceter.contracts.analyses import AbstractionsResult, Analysis, DriftResult
from faceter.contracts.base import StoredFile
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import AnalysisJob, ExplanationJob, JobResult, QuantizationJob
from faceter.contracts.models import Model, ModelMetadata, Task
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.text import Pooling
from faceter.contracts.units import Unit
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.explanations.units import read_units
from faceter.store.library import Library
from faceter.text.tokenizer import TOKENIZER
from tests.text.networks import (
    LABELS,
    Sentences,
    classifier_metadata,
    sentences,
    text_processing,
    tokenizer_file,
    trained_classifier,
)
from tests.workers.stored import stored_dataset, stored_model, taken_job
from workers.explanation.analyses.pipeline import analyse
from workers.explanation.pipeline import explain
from workers.jobs.context import JobContext
from workers.quantization.pipeline import quantize_model

EMBEDDER = ModelMetadata(task=Task.TEXT_EMBEDDING, output="output_1", text=text_processing(Pooling.MODEL))


class TextJobs:
    """A library with text models and datasets, and jobs that run at once."""

    def __init__(self, redis: Redis, settings: Settings, library: Library) -> None:
        self.redis, self.settings, self.library = redis, settings, library

    def model(self, metadata: ModelMetadata, *, tokenizer: bool = True) -> Model:
        graph = trained_classifier()
        files = {}
        if tokenizer:
            stored = self.library.store_blob(tokenizer_file())
            files[TOKENIZER] = StoredFile(sha256=stored.sha256, bytes=stored.bytes, media_type="application/json")
        return stored_model(self.library, graph, metadata, name="bert", opset=18, files=files)

    def dataset(self, content: bytes, kind: DatasetKind = DatasetKind.TEXTS) -> Dataset:
        return stored_dataset(self.library, content, kind, name="texts")

    def context(self, job: ExplanationJob | AnalysisJob | QuantizationJob) -> JobContext:
        return taken_job(self.redis, self.settings, self.library, job)

    def quantized(self, model: Model, **request: object) -> Model:
        settings = QuantizationRequest.model_validate({"method": "rq", **request})
        job = QuantizationJob(model_id=model.id, request=settings)
        context = self.context(job)
        return self.library.models.get(self._stored(context, quantize_model(context, job)))

    def explained(self, model: Model, dataset: Dataset, **options: object) -> tuple[Explanation, list[Unit]]:
        request = ExplanationRequest.model_validate({"dataset_id": dataset.id, **options})
        job = ExplanationJob(model_id=model.id, request=request)
        context = self.context(job)
        found = self.library.explanations.get(self._stored(context, explain(context, job)))
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
        return self.library.analyses.get(self._stored(context, analyse(context, job)))

    def _stored(self, context: JobContext, result: JobResult) -> str:
        context.succeed(result)
        context.discard()
        return result.id


@pytest.fixture
def jobs(redis: Redis, settings: Settings, library: Library) -> TextJobs:
    return TextJobs(redis, settings, library)


def float_accuracy(data: Sentences) -> float:
    """Return the accuracy of the float network, each text alone and tokenized in this process."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_file().decode())
    tokenizer.no_padding()
    loaded = OnnxRuntimeEngine().load(trained_classifier().SerializeToString(), threads=1)
    right = 0
    for text, label in zip(data.texts, data.labels, strict=True):
        ids = np.array([tokenizer.encode(text).ids])
        outputs = loaded.run({"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0})
        right += int(outputs["output_0"].argmax()) == label
    return right / len(data.texts)


def test_a_classifier_is_calibrated_and_evaluated_on_texts(jobs: TextJobs) -> None:
    data = sentences(200, 7)
    model, calibration, evaluation = (
        jobs.model(classifier_metadata()),
        jobs.dataset(sentences(100, 8).lines),
        jobs.dataset(data.lines),
    )
    made = jobs.quantized(model, calibration_dataset_id=calibration.id, evaluation_dataset_id=evaluation.id)
    report = made.quantization
    assert report is not None
    assert report.agreement.source == "evaluation"
    (quality,) = report.quality
    assert (quality.metric, quality.samples) == ("top1", 200)
    assert quality.before == pytest.approx(float_accuracy(data))
    assert quality.before > 0.95
    assert quality.after > quality.before - 0.05
    assert any("from the calibration data" in warning for warning in report.warnings)


def test_the_quantized_model_keeps_the_tokenizer_when_the_float_one_is_deleted(jobs: TextJobs) -> None:
    model = jobs.model(EMBEDDER)
    made = jobs.quantized(model, evaluation_dataset_id=jobs.dataset(sentences(40, 9).lines).id)
    assert made.metadata == model.metadata
    assert made.files[TOKENIZER] == model.files[TOKENIZER]
    jobs.library.delete(jobs.library.models, model.id)
    assert jobs.library.blobs.read(made.files[TOKENIZER].sha256) == tokenizer_file()
    jobs.library.delete(jobs.library.models, made.id)
    assert not jobs.library.blobs.exists(made.files[TOKENIZER].sha256)


def test_embeddings_are_compared_by_their_cosine(jobs: TextJobs) -> None:
    evaluation = jobs.dataset(sentences(60, 10).lines)
    made = jobs.quantized(jobs.model(EMBEDDER), evaluation_dataset_id=evaluation.id)
    assert made.quantization is not None
    agreement = made.quantization.agreement
    assert agreement.cosine is not None
    assert 0.98 < agreement.cosine < 1
    assert agreement.samples == 60
    rough = jobs.quantized(jobs.model(EMBEDDER), evaluation_dataset_id=evaluation.id, weight_bits=3)
    assert rough.quantization is not None
    assert rough.quantization.agreement.cosine is not None
    assert rough.quantization.agreement.cosine < agreement.cosine


def test_a_classifier_is_tuned_on_texts(jobs: TextJobs) -> None:
    made = jobs.quantized(
        jobs.model(classifier_metadata()),
        method="ft",
        weight_bits=4,
        max_steps=20,
        calibration_dataset_id=jobs.dataset(sentences(150, 14).lines).id,
        evaluation_dataset_id=jobs.dataset(sentences(100, 15).lines).id,
    )
    assert made.quantization is not None
    assert made.quantization.quality[0].after > 0.9
    assert made.quantization.settings.max_steps == 20


def test_a_model_without_tokenizer_cannot_be_calibrated_on_texts(jobs: TextJobs) -> None:
    metadata = classifier_metadata().model_copy(update={"text": None})
    with pytest.raises(FaceterError, match=r"this model has none\. Upload it again with its") as caught:
        jobs.quantized(
            jobs.model(metadata, tokenizer=False), calibration_dataset_id=jobs.dataset(sentences(9, 1).lines).id
        )
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert caught.value.errors[0].field == "calibration_dataset_id"


def nouns_of(units: Sequence[Unit]) -> set[str]:
    return {unit.concept.removeprefix("tok:") for unit in units if unit.concept is not None and unit.score > 0.6}


def test_units_are_explained_by_words(jobs: TextJobs) -> None:
    model, data = jobs.model(classifier_metadata()), sentences(300, 11)
    dataset = jobs.dataset(data.lines)
    explanation, units = jobs.explained(model, dataset, layer=["layer_norm_2", "output_1"], quantile=0.3, max_length=3)
    assert explanation.about == "text"
    assert [layer.shape for layer in explanation.layers] == [[32, 1, 1], [32, 1, 1]]
    assert explanation.samples == explanation.pixels == 300
    assert set(explanation.concepts) == {"tok", "tag"}
    best = max((unit for unit in units if unit.layer == "output_1"), key=lambda unit: unit.score)
    assert best.score > 0.8
    for unit in units:
        for example in unit.examples:
            assert example.texts == [data.texts[example.index]]
            assert example.label == LABELS[data.labels[example.index]]
    # a unit of the pooled layer that fires for the sentences of one class is explained by the nouns of that class
    nouns = {"dog", "cat", "horse", "guitar", "piano", "violin", "rain", "snow", "wind"}
    assert best.formula is not None
    assert sum(noun in best.formula for noun in nouns) >= 2


def test_the_default_threshold_is_a_quantile_of_texts(jobs: TextJobs) -> None:
    model, dataset = jobs.model(classifier_metadata()), jobs.dataset(sentences(100, 12).lines)
    explanation, units = jobs.explained(model, dataset, layer="layer_norm_2", max_length=1)
    assert (explanation.settings.quantile, explanation.settings.threshold) == (0.05, None)
    assert all(unit.firings <= 5 for unit in units)


def test_explanations_of_texts_are_analysed(jobs: TextJobs) -> None:
    model, dataset = jobs.model(classifier_metadata()), jobs.dataset(sentences(120, 13).lines)
    made = jobs.quantized(model)
    explanation, _ = jobs.explained(model, dataset, layer="output_1", quantile=0.3, max_length=2)
    abstractions = jobs.analysed(explanation, kind="abstractions").result
    assert isinstance(abstractions, AbstractionsResult)
    drift = jobs.analysed(explanation, kind="drift", model_ids=[made.id]).result
    assert isinstance(drift, DriftResult)
    interpretability = jobs.analysed(explanation, kind="interpretability", min_samples=5).result
    assert interpretability.kind == "interpretability"
