"""A quantization job on a real store: the new model appears with its report and provenance, or nothing does."""

import hashlib
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobStatus, QuantizationJob
from faceter.contracts.models import Model, ModelMetadata, ModelSummary
from faceter.contracts.settings import Settings
from faceter.graphs.working import load_working_graph
from faceter.store.library import Library
from tests.graphs import control_flow
from tests.workers.quantization.evaluation_data import classifier, digits_zip
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.stored import stored_dataset, stored_model, taken_job
from workers.quantization.pipeline import quantize_model


def stored_digits(library: Library, digits: Digits, metadata: ModelMetadata) -> Model:
    return stored_model(library, digits.model, metadata, name="digits", opset=18, parameters=1000)


def stored_images(library: Library, path: Path) -> Dataset:
    return stored_dataset(library, path.read_bytes(), DatasetKind.IMAGES, name="held-out", samples=120)


def test_a_job_makes_a_model_with_a_report_and_its_provenance(
    redis: Redis, settings: Settings, library: Library, digits: Digits, tmp_path: Path
) -> None:
    model = stored_digits(library, digits, classifier())
    dataset = stored_images(library, digits_zip(tmp_path, digits))
    request = request_for(
        method="dfq",
        weight_bits=4,
        activation_bits=6,
        calibration_dataset_id=dataset.id,
        evaluation_dataset_id=dataset.id,
        seed=11,
    )
    specification = QuantizationJob(model_id=model.id, request=request)
    context = taken_job(redis, settings, library, specification)
    result = quantize_model(context, specification)
    assert (result.resource, result.id) == ("models", context.new_id("mdl"))
    assert library.models.find(result.id) is None, "nothing appears before the job has succeeded"
    context.succeed(result)
    made = library.models.get(result.id)
    assert made.name == "digits-dfq-w4a6"
    assert made.derived_from_id == model.id
    assert made.metadata == model.metadata
    content = library.blobs.read(made.sha256)
    assert len(content) == made.bytes
    assert hashlib.sha256(content).hexdigest() == made.sha256
    report, provenance = made.quantization, made.provenance
    assert report is not None
    assert provenance is not None
    assert report.settings == request
    assert report.quality[0].after > 0.8
    assert provenance.inputs == {
        "model": model.sha256,
        "calibration_dataset": dataset.sha256,
        "evaluation_dataset": dataset.sha256,
    }
    assert provenance.seed == 11
    job = JobQueue(redis, settings).get(context.job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.result is not None
    assert job.result.id == made.id
    assert Model.model_validate_json(made.model_dump_json()) == made


def test_a_name_that_was_asked_for_is_given(redis: Redis, settings: Settings, library: Library, digits: Digits) -> None:
    model = stored_digits(library, digits, classifier())
    specification = QuantizationJob(model_id=model.id, request=request_for(method="rq", name="small digits"))
    context = taken_job(redis, settings, library, specification)
    context.succeed(quantize_model(context, specification))
    assert library.models.get(context.new_id("mdl")).name == "small digits"


def test_a_model_that_is_gone_is_named(redis: Redis, settings: Settings, library: Library) -> None:
    specification = QuantizationJob(model_id="mdl_gone", request=request_for())
    context = taken_job(redis, settings, library, specification)
    with pytest.raises(FaceterError, match="mdl_gone") as error:
        quantize_model(context, specification)
    assert error.value.kind is ProblemKind.NOT_FOUND


def test_a_job_with_a_target_stores_a_mixed_model_with_its_figure(
    redis: Redis, settings: Settings, library: Library, digits: Digits, tmp_path: Path
) -> None:
    model = stored_digits(library, digits, classifier())
    dataset = stored_images(library, digits_zip(tmp_path, digits, count=120))
    request = request_for(target={"max_drop": 3.0}, max_steps=6, evaluation_dataset_id=dataset.id)
    specification = QuantizationJob(model_id=model.id, request=request)
    context = taken_job(redis, settings, library, specification)
    context.succeed(quantize_model(context, specification))
    made = library.models.get(context.new_id("mdl"))
    assert made.name == "digits-auto-mixed"
    assert made.quantization is not None
    assert made.quantization.settings == request
    trade_off = made.quantization.trade_off
    assert trade_off is not None
    image = made.files["trade-off.png"]
    assert library.blobs.read(image.sha256).startswith(b"\x89PNG")
    assert image.media_type == "image/png"
    short = ModelSummary.of(made).quantization
    assert short is not None
    assert short.mixed
    assert short.weight_bits == max(trade_off.points[trade_off.chosen].bits.values())
    assert short.activation_bits == 8


def test_a_quantized_model_without_its_constant_input_can_be_worked_on(
    redis: Redis, settings: Settings, library: Library
) -> None:
    metadata = ModelMetadata(constant_inputs={"sr": 16000})
    model = stored_model(library, control_flow.by_sampling_rate(), metadata, name="digits", opset=18, parameters=1000)
    request = request_for(method="rq", weight_bits=8, activation_bits=8)
    context = taken_job(redis, settings, library, QuantizationJob(model_id=model.id, request=request))
    context.succeed(quantize_model(context, QuantizationJob(model_id=model.id, request=request)))
    (made,) = [each for each in library.models.page(10, None).items if each.id != model.id]
    assert [spec.name for spec in made.inputs] == ["x"]
    working = load_working_graph(library.blobs.read(made.sha256), made.metadata)
    assert working.warnings == ()
