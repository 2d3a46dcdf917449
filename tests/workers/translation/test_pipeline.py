"""Translation jobs on a real store: what they make, that it is what was trained, and that nothing interrupts them."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from redis import Redis

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobStatus, Training
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import DirectionEvaluation
from faceter.contracts.translators import Translator
from faceter.store import job_checkpoints
from faceter.store.library import Library
from faceter.translation.archive import CURVES, CURVES_IMAGE, STATE, Archive
from tests.workers.figures.images import opened
from tests.workers.translation.jobs import Bench, images_of, run_generator, translated
from workers.jobs import checkpoints
from workers.translation.cyclegan import CycleGan
from workers.translation.methods import settings_of
from workers.translation.pipeline import train

A2B, B2A = Direction.A2B, Direction.B2A


@pytest.fixture
def bench(redis: Redis, settings: Settings, library: Library) -> Bench:
    return Bench(redis, settings, library)


def networks_of(bench: Bench, translator: Translator) -> Mapping[str, Mapping[str, torch.Tensor]]:
    with Archive(bench.library.blobs.path(translator.sha256)) as archive:
        state = checkpoints.load(archive.read(STATE))
    networks: Mapping[str, Mapping[str, torch.Tensor]] = state["training"]["trainer"]["networks"]
    return networks


def is_what_was_trained(bench: Bench, translator: Translator, height: int = 24, width: int = 40) -> None:
    """Check that each generator's model, at another size too, gives what the torch generator gives to 1e-4."""
    assert translator.settings is not None
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)
    for direction in translator.directions:
        network = settings_of(translator.settings).new_generator().eval()
        network.load_state_dict(networks_of(bench, translator)[direction.value])
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        found = run_generator(bench.content(translator, direction), images)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
        assert found.std() > 1e-3


def resized(images: list[Image.Image], size: int = 16) -> NDArray[np.uint8]:
    small = [image.resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in small])


def agrees(graded: DirectionEvaluation, content: bytes, back: bytes | None, a: NDArray[np.uint8]) -> None:
    """Check that an evaluation of drawn images and their opposites says what was measured by ONNX Runtime."""
    made = translated(content, a)
    luma = np.array([0.299, 0.587, 0.114])

    def bright(images: NDArray[np.uint8]) -> float:
        return float(np.einsum("nchw,c->", images / 255, luma)) / images[:, 0].size

    assert graded.brightness == pytest.approx(
        {"source": bright(a), "translated": bright(made), "target": bright(255 - a)}, abs=2e-3
    )
    assert graded.pixel_error == pytest.approx(np.abs(made / 255 - (255 - a) / 255).mean(), abs=2e-3)
    assert graded.mean_image_error is not None
    assert 0 < graded.mean_image_error < 0.5
    if back is None:
        assert graded.reconstruction_error is None
    else:
        expected = np.abs(translated(back, made) / 255 - a / 255).mean()
        assert graded.reconstruction_error == pytest.approx(expected, abs=2e-3)


def test_a_cyclegan_of_pairs(bench: Bench) -> None:
    dataset, feature_extractor = bench.dataset(paired=True), bench.feature_extractor()
    context, job = bench.started(
        dataset,
        epochs=3,
        seed=7,
        features={"model_id": feature_extractor.id, "tensor": "p"},
        evaluation_dataset_id=dataset.id,
    )
    result = train(context, job)
    assert (result.resource, result.id) == ("translators", context.new_id("trl"))
    assert bench.library.translators.count() == bench.library.models.count() - 1 == 0, "nothing before it succeeded"
    context.succeed(result)
    context.discard()
    assert bench.queue.get(context.job_id).status is JobStatus.SUCCEEDED
    found = bench.library.translators.get(result.id)
    assert Translator.model_validate_json(found.model_dump_json()) == found
    assert (found.name, found.job_id, found.settings) == ("drawn, cyclegan", context.job_id, job.request)
    assert found.warnings == []
    is_what_was_trained(bench, found)

    record = found.training
    assert record is not None
    assert (record.method, record.steps, record.epochs, record.ended_by) == ("cyclegan", 9, 3.0, "budget")
    assert (record.restarts, record.resumed, record.compiled) == (0, 0, False)
    assert set(record.losses) == {
        *(f"{name}_{domain}" for name in ("cycle", "identity", "D") for domain in "ab"),
        "G_a2b",
        "G_b2a",
    }
    assert record.steps_per_second == pytest.approx(9 / record.seconds, rel=0.05)
    assert record.parameters["generator"] == sum(values.numel() for values in networks_of(bench, found)["a2b"].values())
    provenance = found.provenance
    assert provenance is not None
    assert provenance.seed == 7
    assert provenance.inputs == {
        "dataset": dataset.sha256,
        "evaluation_dataset": dataset.sha256,
        "features": feature_extractor.sha256,
    }

    a = resized(images_of()[0])
    for direction, images in ((A2B, a), (B2A, 255 - a)):
        graded = found.evaluation[direction]
        assert (graded.images, graded.held_out) == (6, True)
        agrees(graded, bench.content(found, direction), bench.content(found, direction.back), images)
        for metrics in (graded.metrics, graded.untranslated):
            assert set(metrics) == {"density", "coverage", "fid"}
            assert min(metrics.values()) >= 0
        assert graded.metrics != graded.untranslated
        assert graded.untranslated["fid"] == found.evaluation[direction.back].untranslated["fid"]


def test_the_models_are_models_like_any_other(bench: Bench) -> None:
    found = bench.trained(bench.dataset(), name="there and back")
    for direction in Direction:
        model = bench.library.models.get(found.model_ids[direction])
        assert Model.model_validate_json(model.model_dump_json()) == model
        assert model.name == f"there and back ({direction})"
        assert (
            model.sha256 == found.model_sha256[direction] == hashlib.sha256(bench.content(found, direction)).hexdigest()
        )
        assert (model.metadata.task, model.opset) == ("image_translation", 18)
        assert model.metadata.preprocessing is not None
        assert model.metadata.preprocessing.size == [16, 16]
        assert model.inputs[0].shape == ["batch", 3, "height", "width"]
        assert found.training is not None
        assert model.parameters >= found.training.parameters["generator"]
        assert model.provenance == found.provenance


def test_the_archive_samples_and_curves(bench: Bench) -> None:
    found = bench.trained(bench.dataset(), epochs=2)
    with Archive(bench.library.blobs.path(found.sha256)) as archive:
        names = ["a2b.onnx", "b2a.onnx", CURVES, CURVES_IMAGE, "samples/000000006.png", STATE]
        assert archive.names == names
        assert archive.directions == [A2B, B2A]
        for direction in Direction:
            assert archive.read(f"{direction}.onnx") == bench.content(found, direction)
        points = archive.curves().points
        assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
        assert found.training is not None
        for name, mean in found.training.losses.items():
            assert mean == pytest.approx(np.mean([point.losses[name] for point in points]))
        sheet = archive.read("samples/000000006.png")
        assert bench.library.blobs.read(found.files["samples.png"].sha256) == sheet
        assert bench.library.blobs.read(found.files["curves.png"].sha256) == archive.read(CURVES_IMAGE)
        assert opened(archive.read(CURVES_IMAGE)).std() > 5
    pixels = opened(sheet)
    shown = {tuple(row) for row in pixels.reshape(-1, 3).tolist()}
    for real in (resized(images_of()[0]), 255 - resized(images_of()[0])):
        assert {tuple(row) for row in real[0].reshape(3, -1).T.tolist()} <= shown, "real images are on it"
    assert not list((bench.settings.data_dir / "scratch").glob("*")), "and nothing is left"


def test_pix2pix_has_one_direction(bench: Bench) -> None:
    dataset = bench.dataset(paired=True)
    found = bench.trained(
        dataset,
        method="pix2pix",
        generator="unet",
        residual_blocks=None,
        image_size=32,
        direction="b2a",
        seed=3,
        serving_precision="fast",
    )
    assert list(found.model_ids) == list(found.evaluation) == [B2A]
    serving = bench.library.models.get(found.model_ids[B2A]).metadata.serving
    assert serving is not None
    assert serving.precision == "fast"
    is_what_was_trained(bench, found, 64, 32)
    agrees(found.evaluation[B2A], bench.content(found, B2A), None, 255 - resized(images_of()[0], 32))
    assert not found.evaluation[B2A].held_out
    assert found.warnings == [
        "The evaluation used images of the training set. Set `evaluation_dataset_id` to other images."
    ]
    assert found.training is not None
    assert set(found.training.losses) == {"G_adversarial", "l1", "D_real", "D_fake"}


def test_unpaired_images_have_no_pixel_error_and_few_have_no_metrics(bench: Bench) -> None:
    features = {"model_id": bench.feature_extractor().id, "tensor": "p"}
    found = bench.trained(bench.dataset(), evaluation_dataset_id=bench.dataset(5, 2).id, features=features)
    for graded in found.evaluation.values():
        assert (graded.images, graded.pixel_error, graded.mean_image_error) == (5, None, None)
        assert (graded.metrics, graded.untranslated) == ({}, {})
    (warning,) = found.warnings
    assert "they take 6 images of each domain at least" in warning


def test_equal_seeds_give_equal_models(bench: Bench) -> None:
    dataset = bench.dataset()
    first, second, other = (bench.trained(dataset, seed=seed) for seed in (1, 1, 2))
    assert first.model_sha256 == second.model_sha256
    assert not set(first.model_sha256.values()) & set(other.model_sha256.values())
    assert first.id != second.id
    assert set(first.model_ids.values()).isdisjoint(second.model_ids.values())


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix"])
def test_one_that_was_killed_ends_as_if_it_was_not(bench: Bench, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = bench.dataset(paired=True)
    said: dict[str, Any] = {"method": method, "epochs": 3, "seed": 5}
    whole = bench.trained(dataset, **said)
    context, job = bench.started(dataset, **said)
    context.settings = bench.settings.model_copy(update={"checkpoint_seconds": 0.0})

    def killed(step: str, fraction: float, training: Training | None = None) -> None:
        if training is not None and training.step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(context, "progress", killed)
        with pytest.raises(KeyboardInterrupt):
            train(context, job)
    kept = job_checkpoints.find(bench.redis, context.job_id)
    with Archive(bench.library.blobs.path(str(kept))) as archive:
        assert archive.sample_steps == [1, 2, 3, 4]
        assert [point.step for point in archive.curves().points] == [1, 2, 3, 4]
    context.settings = bench.settings
    steps: list[int] = []
    told = context.progress

    def told_steps(step: str, fraction: float, training: Training | None = None) -> None:
        if training is not None:
            steps.append(training.step)
        told(step, fraction, training)

    monkeypatch.setattr(context, "progress", told_steps)
    found = bench.done(context, job)
    assert steps == [5, 6, 7, 8, 9]
    assert found.model_sha256 == whole.model_sha256
    assert found.evaluation == whole.evaluation
    assert found.training is not None
    assert (found.training.steps, found.training.resumed) == (9, 1)
    with Archive(bench.library.blobs.path(found.sha256)) as archive:
        assert archive.sample_steps == [1, 2, 3, 4, 9]
        assert [point.step for point in archive.curves().points] == list(range(1, 10))
    assert not bench.library.blobs.exists(str(kept)), "the checkpoint went with the job"


def test_one_that_is_asked_to_end_is_kept_as_far_as_it_came(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 2)
    context, job = bench.started(bench.dataset(), lambda: float(next(ticks)), epochs=10_000)
    told = context.progress

    def ending(step: str, fraction: float, training: Training | None = None) -> None:
        told(step, fraction, training)
        if training is not None and training.step == 4:
            bench.queue.request_end(context.job_id)

    monkeypatch.setattr(context, "progress", ending)
    found = bench.done(context, job)
    assert found.training is not None
    assert (found.training.ended_by, found.training.steps) == ("request", 4)
    is_what_was_trained(bench, found)


def test_one_that_comes_near_the_servers_limit_is_kept_too(bench: Bench) -> None:
    context, job = bench.started(bench.dataset(), epochs=10_000)
    context.settings = bench.settings.model_copy(update={"job_timeout_seconds": 1})
    found = bench.done(context, job)
    assert found.training is not None
    assert found.training.ended_by == "time_limit"
    assert found.training.seconds < 2


def distance(bench: Bench, first: Translator, second: Translator) -> float:
    """Return how far apart the weights of two translators are at most."""
    one, other = networks_of(bench, first), networks_of(bench, second)
    return max(float((one[name][key] - other[name][key]).abs().max()) for name in one for key in one[name])


def test_another_training_goes_on_from_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = bench.dataset()
    before = bench.trained(dataset, seed=1)
    still = {"learning_rate": 1e-9, "seed": 2}
    assert distance(bench, before, bench.trained(dataset, **still)) > 0.01
    after = bench.trained(dataset, **still, resume_from_id=before.id)
    assert 0 < distance(bench, before, after) < 1e-6
    assert after.provenance is not None
    assert after.provenance.inputs == {"dataset": dataset.sha256, "resume_from": before.sha256}
    assert after.training is not None
    assert after.training.steps == 3, "steps of its own"

    step, taken = CycleGan.step, []

    def lost_at_first(trainer: CycleGan, fraction: float) -> Mapping[str, torch.Tensor]:
        losses = dict(step(trainer, fraction))
        taken.append(fraction)
        return losses if len(taken) > 1 else {**losses, "G_a2b": torch.tensor(float("nan"))}

    monkeypatch.setattr(CycleGan, "step", lost_at_first)
    again = bench.trained(dataset, **still, resume_from_id=before.id)
    assert again.training is not None
    assert again.training.restarts == 1
    assert distance(bench, before, again) < 1e-6, "where it goes back to is where it began"
    assert "went back to its last checkpoint and continued at half the rate" in again.warnings[0]


def test_networks_that_do_not_fit_are_refused(bench: Bench) -> None:
    dataset = bench.dataset()
    before = bench.trained(dataset)
    with pytest.raises(FaceterError, match="of another kind or size") as error:
        bench.trained(dataset, base_channels=2, resume_from_id=before.id)
    assert error.value.kind is ProblemKind.INVALID_REQUEST


def test_what_was_deleted_meanwhile_is_named(bench: Bench) -> None:
    dataset = bench.dataset()
    context, job = bench.started(dataset)
    bench.library.delete(bench.library.datasets, dataset.id)
    with pytest.raises(FaceterError, match=dataset.id):
        train(context, job)
