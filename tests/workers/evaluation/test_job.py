"""An evaluation job on a real store: an evaluation appears with its plots and provenance, or nothing does."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import Evaluation, EvaluationRequest, Shown
from faceter.contracts.jobs import EvaluationJob, JobStatus
from faceter.contracts.metrics import Metric
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.datasets.ranked_samples import RankedSamples
from faceter.datasets.signals import signals_file
from faceter.graphs.canonical import canonicalize
from faceter.store import job_steps
from faceter.store.library import Library
from tests.references.prdc import prdc
from tests.workers.evaluation.samples import gaussian
from tests.workers.evaluation.test_feature_extraction import rectifier, stored
from tests.workers.quantization.evaluation_data import classifier
from tests.workers.quantization.networks import Digits
from tests.workers.quantization.test_job import stored_digits
from tests.workers.stored import taken_job
from workers.evaluation.pipeline import evaluate
from workers.jobs.context import JobContext


def claimed(redis: Redis, settings: Settings, library: Library, request: EvaluationRequest) -> JobContext:
    return taken_job(redis, settings, library, EvaluationJob(request=request))


def done(redis: Redis, settings: Settings, library: Library, **options: object) -> Evaluation:
    request = EvaluationRequest.model_validate(options)
    context = claimed(redis, settings, library, request)
    context.succeed(evaluate(context, EvaluationJob(request=request)))
    context.discard()
    return library.evaluations.get(context.new_id("evl"))


def kept(library: Library, id: str, content: bytes, kind: DatasetKind, samples: int, name: str = "set") -> Dataset:
    blob = library.store_blob(content)
    return library.add(
        Dataset(
            id=id,
            name=name,
            kind=kind,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            samples=samples,
        )
    )


def features_file(rows: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, features=rows)
    return buffer.getvalue()


def digits_file(digits: Digits, start: int, count: int, noise: float = 0.0) -> bytes:
    """Return held-out digits as images in class folders, with noise or without."""
    rng = np.random.default_rng(start)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(start, start + count):
            pixels = (digits.images[index, 0] * 0.35 + 0.3) * 255 + 255 * noise * rng.normal(size=(8, 8))
            file = io.BytesIO()
            Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8)).save(file, "PNG")
            archive.writestr(f"{digits.classes[index]}/{index:03}.png", file.getvalue())
    return buffer.getvalue()


def last_features(digits: Digits) -> str:
    """Return the tensor that enters the classifier."""
    (gemm,) = [node for node in canonicalize(digits.model).graph.node if node.op_type == "Gemm"]
    return str(gemm.input[0])


@pytest.fixture
def model(library: Library, digits: Digits) -> Model:
    return stored_digits(library, digits, classifier())


@pytest.fixture
def halves(library: Library, digits: Digits) -> tuple[Dataset, Dataset]:
    """Digits, and other digits with noise."""
    return (
        kept(library, "dts_real", digits_file(digits, 0, 200), DatasetKind.IMAGES, 200, "digits"),
        kept(library, "dts_made", digits_file(digits, 200, 180, noise=0.2), DatasetKind.IMAGES, 180, "noisy digits"),
    )


@pytest.fixture
def evaluated_digits(
    redis: Redis, settings: Settings, library: Library, digits: Digits, model: Model, halves: tuple[Dataset, Dataset]
) -> Callable[..., Evaluation]:
    """Grades the digits with noise, by the last features of the network that knows digits."""
    features = {"model_id": model.id, "tensor": last_features(digits)}

    def evaluated(**options: object) -> Evaluation:
        named = {"reference_id": halves[0].id, "generated_id": halves[1].id, "features": features}
        return done(redis, settings, library, **named, **options)

    return evaluated


def test_images_through_a_model(
    redis: Redis,
    settings: Settings,
    library: Library,
    model: Model,
    halves: tuple[Dataset, Dataset],
    evaluated_digits: Callable[..., Evaluation],
) -> None:
    found = evaluated_digits(classifier_id=model.id, k=[5, 3, 9], per_class=True, bootstrap=50, seed=4)
    assert set(found.metrics) == set(Metric)
    assert found.metrics[Metric.DENSITY].value < 1
    assert 1 < found.metrics[Metric.INCEPTION_SCORE].value <= 10
    assert (found.reference_samples, found.generated_samples, found.features.dimensions) == (200, 180, 32)
    assert (found.name, found.k, [point.k for point in found.sweep]) == ("noisy digits against digits", 5, [5, 3, 9])
    assert [item.label for item in found.per_class] == [str(digit) for digit in range(10)]
    assert any("few samples" in warning for warning in found.warnings)
    assert not any("no relation" in warning for warning in found.warnings), "the model knows digits"
    assert set(found.files) == {
        "k-sweep.png", "distances.png", "map.png", "bootstrap.png", "plots.json",
        "outside.png", "uncovered.png", "densest.png", "closest.png",
    }  # fmt: skip
    for name, file in found.files.items():
        content = library.blobs.read(file.sha256)
        assert len(content) == file.bytes
        if name.endswith(".png"):
            Image.open(io.BytesIO(content)).verify()
    plots = json.loads(library.blobs.read(found.files["plots.json"].sha256))
    assert set(plots) == {"k-sweep", "distances", "map", "bootstrap"}
    assert len(plots["distances"]["generated_to_nearest_real"]) == 180
    arrays = RankedSamples.read(library.blobs.path(found.sha256))
    for role, ranked, other in (
        ("reference", arrays.reference, arrays.generated),
        ("generated", arrays.generated, arrays.reference),
    ):
        points = plots["map"][role]
        assert points["index"] == ranked.indices.tolist()
        assert points["balls"] == ranked.balls.tolist()
        assert points["nearest_index"] == other.indices[ranked.nearest].tolist()
        assert points["distance"] == pytest.approx(ranked.distance.tolist(), rel=1e-5)
        assert points["label"] == (ranked.labels.tolist() if ranked.labels is not None else None)
    provenance = found.provenance
    assert provenance is not None
    assert provenance.inputs == {
        "reference": halves[0].sha256,
        "generated": halves[1].sha256,
        "features_model": model.sha256,
        "classifier": model.sha256,
    }
    assert provenance.seed == 4
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    job = JobQueue(redis, settings).page(1, None, lambda _: True).items[0]
    assert job.status is JobStatus.SUCCEEDED
    assert job.result is not None
    assert job.result.id == found.id
    assert job.provenance == provenance
    kinds = [dataset.kind for dataset in library.datasets.page(10).items]
    assert kinds.count(DatasetKind.FEATURES) == 2, "the features of both are kept"


def test_what_is_shown_of_each_sample(library: Library, evaluated_digits: Callable[..., Evaluation]) -> None:
    found = evaluated_digits()
    samples = RankedSamples.read(library.blobs.path(found.sha256))
    assert found.shown == {which: len(samples.order(which)) for which in Shown}
    outside, uncovered = (
        1 - found.metrics[Metric.PRECISION].value,
        1 - found.metrics[Metric.COVERAGE].value,
    )
    assert found.shown[Shown.OUTSIDE] == round(180 * outside) > 0
    assert found.shown[Shown.UNCOVERED] == round(200 * uncovered) > 0
    first = samples.sample(Shown.CLOSEST, int(samples.order(Shown.CLOSEST)[0]))
    assert first.set == "generated"
    assert first.name is not None
    assert first.label == first.name.split("/")[0]
    rows = {}
    for role in ("reference", "generated"):
        dataset = library.datasets.get(getattr(found.features, f"{role}_features_id"))
        with np.load(library.blobs.path(dataset.sha256)) as arrays:
            rows[role] = arrays["features"].astype(np.float64)
    distances = np.linalg.norm(rows["generated"][:, None] - rows["reference"], axis=2)
    assert first.distance == pytest.approx(distances.min(), rel=1e-6)
    assert np.unravel_index(distances.argmin(), distances.shape) == (first.index, first.nearest_index)
    alone = samples.sample(Shown.UNCOVERED, int(samples.order(Shown.UNCOVERED)[0]))
    assert alone.distance == pytest.approx(distances[:, alone.index].min(), rel=1e-6)
    assert distances[alone.nearest_index, alone.index] == pytest.approx(alone.distance, rel=1e-6)


def test_features_that_the_user_brings(redis: Redis, settings: Settings, library: Library) -> None:
    real, fake = gaussian(90, 12), 0.9 * gaussian(70, 12, seed=1)
    kept(library, "dts_real", features_file(real), DatasetKind.FEATURES, 90)
    kept(library, "dts_made", features_file(fake), DatasetKind.FEATURES, 70)
    found = done(redis, settings, library, reference_id="dts_real", generated_id="dts_made", k=4, name="mine")
    expected = prdc(real, fake, 4)
    assert {name: found.metrics[Metric(name)].value for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.features.source == "dataset"
    assert (found.features.reference_features_id, found.features.generated_features_id) == ("dts_real", "dts_made")
    assert (found.name, found.sha256 in {file.sha256 for file in found.files.values()}) == ("mine", False)
    assert set(found.files) == {"distances.png", "map.png", "plots.json"}, "features cannot be looked at"
    assert Metric.INCEPTION_SCORE not in found.metrics


def test_signals_through_a_model(redis: Redis, settings: Settings, library: Library) -> None:
    rng = np.random.default_rng(0)
    signals, labels = rng.normal(size=(120, 2, 30)), np.arange(120) % 3
    kept(library, "dts_real", signals_file(signals[:70], labels[:70], ["a", "b", "c"]), DatasetKind.SIGNALS, 70)
    kept(library, "dts_made", signals_file(signals[70:] + 0.5, labels[70:], ["a", "b", "c"]), DatasetKind.SIGNALS, 50)
    model = stored(library, rectifier())
    options = {"reference_id": "dts_real", "generated_id": "dts_made", "per_class": True}
    found = done(redis, settings, library, features={"model_id": model.id, "tensor": "kept"}, **options)
    assert found.features.dimensions == 2
    assert [(item.label, item.reference_samples) for item in found.per_class] == [("a", 24), ("b", 23), ("c", 23)]
    assert {"densest.png", "closest.png"} <= set(found.files), "signals can be looked at"
    for which in found.shown:
        if f"{which}.png" in found.files:
            Image.open(io.BytesIO(library.blobs.read(found.files[f"{which}.png"].sha256))).verify()


def test_a_subsample_is_what_is_graded(redis: Redis, settings: Settings, library: Library) -> None:
    real, fake = gaussian(90, 12), 0.9 * gaussian(70, 12, seed=1)
    kept(library, "dts_real", features_file(real), DatasetKind.FEATURES, 90)
    kept(library, "dts_made", features_file(fake), DatasetKind.FEATURES, 70)
    options = {"reference_id": "dts_real", "generated_id": "dts_made", "subsample": 40, "seed": 3}
    found = done(redis, settings, library, **options)
    assert (found.reference_samples, found.generated_samples) == (40, 40)
    with np.load(library.blobs.path(found.sha256)) as arrays:
        chosen = arrays["reference_indices"], arrays["generated_indices"]
    assert [len(set(part.tolist())) for part in chosen] == [40, 40]
    expected = prdc(real[chosen[0]], fake[chosen[1]], 5)
    assert {name: found.metrics[Metric(name)].value for name in expected} == pytest.approx(expected, abs=1e-12)
    again = done(redis, settings, library, **options)
    assert again.sha256 == found.sha256
    assert done(redis, settings, library, **{**options, "seed": 4}).sha256 != found.sha256


def test_sets_that_cannot_be_compared_are_refused(redis: Redis, settings: Settings, library: Library) -> None:
    kept(library, "dts_real", features_file(gaussian(90, 12)), DatasetKind.FEATURES, 90)
    kept(library, "dts_made", features_file(gaussian(70, 13)), DatasetKind.FEATURES, 70)
    with pytest.raises(FaceterError, match="12 values each, those of the generated ones 13") as error:
        done(redis, settings, library, reference_id="dts_real", generated_id="dts_made")
    assert error.value.kind is ProblemKind.DATASET_MISMATCH
    with pytest.raises(FaceterError, match="more than k = 90"):
        done(redis, settings, library, reference_id="dts_real", generated_id="dts_real", k=90)


class StoppedError(Exception):
    pass


def test_a_job_whose_worker_died_goes_on_where_it_was(
    redis: Redis, settings: Settings, library: Library, monkeypatch: pytest.MonkeyPatch, small_blocks: None
) -> None:
    settings = settings.model_copy(update={"checkpoint_seconds": 1e-9})
    kept(library, "dts_real", features_file(gaussian(300, 12)), DatasetKind.FEATURES, 300)
    kept(library, "dts_made", features_file(0.9 * gaussian(280, 12, seed=1)), DatasetKind.FEATURES, 280)
    request = EvaluationRequest(reference_id="dts_real", generated_id="dts_made")
    whole = done(redis, settings, library, reference_id="dts_real", generated_id="dts_made")
    context = claimed(redis, settings, library, request)
    fractions: list[float] = []
    say = context.progress

    def progress(step: str, fraction: float, training: None = None) -> None:
        fractions.extend([fraction] * (step == "distances"))
        if len(fractions) == 20:
            raise StoppedError
        say(step, fraction, training)

    monkeypatch.setattr(context, "progress", progress)
    with pytest.raises(StoppedError):
        evaluate(context, EvaluationJob(request=request))
    last = fractions[-1]
    resumed: list[tuple[str, float]] = []
    monkeypatch.setattr(context, "progress", lambda *report: resumed.append(report[:2]))
    result = evaluate(context, EvaluationJob(request=request))
    context.succeed(result)
    found = library.evaluations.get(result.id)
    assert found.sha256 == whole.sha256
    assert {metric: item.value for metric, item in found.metrics.items()} == {
        metric: item.value for metric, item in whole.metrics.items()
    }
    repeated = [fraction for step, fraction in resumed if step == "distances" and fraction <= last]
    assert len(repeated) < 10, "blocks that were done are not computed again"


def test_a_canceled_job_leaves_nothing(redis: Redis, settings: Settings, library: Library, tmp_path: Path) -> None:
    kept(library, "dts_real", features_file(gaussian(90, 12)), DatasetKind.FEATURES, 90)
    request = EvaluationRequest(reference_id="dts_real", generated_id="dts_real")
    context = claimed(redis, settings, library, request)
    result = evaluate(context, EvaluationJob(request=request))
    JobQueue(redis, settings).cancel(context.job_id)
    with pytest.raises(job_steps.LeaseLostError):
        context.succeed(result)
    context.discard()
    assert library.evaluations.count() == 0
    assert {file.name for file in settings.data_dir.rglob("*") if file.is_file()} == {
        library.datasets.get("dts_real").sha256
    }
