"""Jobs by the client, done by a real worker: from an upload to each kind of result."""

import io
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from faceter import Client
from faceter.client import progress as progress_module
from faceter.client.errors import Conflict, JobFailed, JobNotEnded, NotFound
from faceter.client.progress import (
    BarDisplay,
    LineDisplay,
    NoDisplay,
    ProgressDisplay,
    RichDisplay,
    described,
    display,
    duration,
)
from faceter.contracts.base import utc_now
from faceter.contracts.errors import ProblemKind
from faceter.contracts.job_progress import Progress, Training
from faceter.contracts.jobs import JobKind, JobStatus
from faceter.contracts.models import Model
from tests.app.dataset_archives import concepts
from tests.app.uploads import METADATA, image, images
from tests.client.flaky_proxy import FlakyProxy
from tests.engines import graphs
from tests.graphs.builders import run_optimized
from tests.workers.processes import WorkerProcess
from tests.workers.translation.jobs import domains_zip, images_of

pytestmark = pytest.mark.end_to_end


def test_from_an_upload_to_a_smaller_model_that_predicts(client: Client, worker: WorkerProcess, tmp_path: Path) -> None:
    model = client.models.upload(graphs.classifier(classes=3), metadata=METADATA)
    job = model.quantize(weight_bits=8, method="rq", name="small")
    assert (job.kind, job.record.specification.model_id) == (JobKind.QUANTIZATION, model.id)  # type: ignore[union-attr]
    small = job.result(timeout=120)
    assert job.status is JobStatus.SUCCEEDED
    assert isinstance(small, Model)
    assert (small.name, small.derived_from_id) == ("small", model.id)
    assert small.quantization is not None
    assert small.quantization.settings.weight_bits == 8
    assert job.by_products() == []
    assert [item.id for item in model.quantizations()] == [small.id]
    assert small.id in [item.id for item in client.quantizations.list()]
    assert client.quantizations.get(small.id) == small
    file = small.download(tmp_path / "small.onnx")
    tensor = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    (expected,) = run_optimized(onnx.load(file), image=tensor)
    found = small.predict(tensor, raw=True).outputs
    assert found is not None
    np.testing.assert_allclose(found["logits"], expected, atol=1e-5)
    assert "<table>" in small._repr_html_()
    again = job.rerun().result(timeout=120)
    assert again.sha256 == small.sha256


def test_events_are_followed_over_a_broken_connection(client: Client, worker: WorkerProcess, proxy: FlakyProxy) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    with Client(proxy.url) as flaky:
        job = flaky.quantizations.create(model, method="rq")
        proxy.fail("cut-stream", "busy", "lose-request")
        names = [event.name for event in job.events()]
        assert names[-1] == "end"
        assert names.count("end") == 1
        assert job.status is JobStatus.SUCCEEDED
        asked = [seen.headers.get("last-event-id") for seen in proxy.seen]
        assert asked[0] is None
        assert asked[-1]
        assert len(asked) == 4
        first = [event.id for event in flaky.jobs.get(job.id).events()]
        assert len(set(first)) == len(first)


def test_a_job_that_fails_has_its_problem(client: Client, worker: WorkerProcess) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    dataset = client.datasets.upload(concepts(), kind="concepts")
    job = model.explain(dataset, layer="r", threshold=1e9)
    with pytest.raises(JobFailed, match="nothing to explain") as caught:
        job.result(timeout=120)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert caught.value.job.id == job.id
    assert caught.value.problem == job.error
    assert job.wait() is job
    assert "failed" in repr(job)
    assert "nothing to explain" in job._repr_html_()
    with pytest.raises(NotFound):
        job.error_report()


def test_grading(client: Client, worker: WorkerProcess, tmp_path: Path) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    real = client.datasets.upload(images(each=9), kind="images", name="real")
    generated = client.datasets.upload(images(["a", "b"], each=6), kind="images", name="generated")
    job = client.evaluations.grade(real, generated, features=model.features("f"), k=[3, 4], seed=5)
    evaluation = job.result(timeout=120)
    assert client.datasets.get(evaluation.features.generated_features_id).samples == 12
    assert evaluation.settings.reference_id == real.id
    assert evaluation.metrics["density"].value >= 0  # type: ignore[index]
    assert [item.index for item in evaluation.samples("densest", page_size=5)] != []
    assert evaluation.compare(evaluation.id).comparable
    assert evaluation.file("map.png").media_type == "image/png"
    assert "density" in evaluation._repr_html_()
    assert next(iter(client.evaluations.list(reference_id=real, sort="-density"))).id == evaluation.id
    with np.load(evaluation.download(tmp_path / "samples.npz")) as arrays:
        assert "generated_balls" in arrays
    client.evaluations.delete(evaluation)


def test_explaining_and_analysing(client: Client, worker: WorkerProcess) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    dataset = client.datasets.upload(concepts(), kind="concepts")
    explanation = model.explain(dataset, layer="r", max_length=2, quantile=0.2, min_firings=1).result(timeout=120)
    assert explanation.settings.layers == ["r"]
    assert [unit.unit for unit in explanation.units(page_size=1)] == [0, 1, 2, 3]
    assert explanation.unit(2).unit == 2
    assert explanation.unit_image(2).content.startswith(b"\x89PNG")
    best = next(iter(explanation.units(sort="-score")))
    assert explanation.unit_image(best.unit, sample=0).content != explanation.unit_image(best.unit).content
    assert best.unit in [unit.unit for unit in model.units(formula=best.formula or "")]
    assert "mean IoU" in explanation._repr_html_()
    assert [item.id for item in client.explanations.list(model_id=model)] == [explanation.id]
    assert [item.id for item in model.explanations()] == [explanation.id]
    assert all(unit.explanation_id == explanation.id for unit in model.units())
    analysis = explanation.analyse("abstractions").result(timeout=120)
    assert analysis.result.kind == "abstractions"
    assert [item.id for item in explanation.analyses()] == [analysis.id]
    assert [item.id for item in client.analyses.list(explanation_id=explanation, kind="abstractions")] == [analysis.id]
    assert "Analysis" in analysis._repr_html_()
    explained = client.explanations.explain(model, dataset, layer=["r"], units=[1], quantile=0.2).result(timeout=120)
    assert explained.layers[0].units == 1


def test_training_and_translating(client: Client, worker: WorkerProcess, tmp_path: Path) -> None:
    dataset = client.datasets.upload(domains_zip(*images_of()), kind="domains", paired=True)
    job = client.translators.train(
        dataset,
        method="pix2pix",
        image_size=16,
        generator="resnet",
        residual_blocks=1,
        base_channels=2,
        epochs=1,
    )
    waiting = f"trl_{job.id.removeprefix('job_')}"
    state = client.translators.state(waiting)
    if state.status != "ready":
        with pytest.raises(Conflict, match="not ready"):
            client.translators.get(waiting)
    translator = job.result(timeout=300)
    assert translator.id == waiting
    assert client.translators.get(waiting).training is not None
    file = image(3, (21, 17))
    translated = translator.translate(file, direction="a2b")
    assert translated.size == (21, 17)
    pixels = np.asarray(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(np.asarray(translator.translate(pixels)), np.asarray(translated))
    (tmp_path / "i.png").write_bytes(file)
    several = translator.translate([tmp_path / "i.png", pixels])
    assert [one.size for one in several] == [(21, 17)] * 2
    np.testing.assert_array_equal(np.asarray(several[1]), np.asarray(translated))
    (single,) = translator.translate([Image.open(tmp_path / "i.png")], format="jpeg")
    assert single.format == "JPEG"
    assert translator.translate([]) == []
    assert translator.samples().items
    assert translator.curves().points
    assert client.translators.curves_image(translator).media_type == "image/png"
    assert client.translators.sample_image(translator).content.startswith(b"\x89PNG")
    assert "pix2pix" in translator._repr_html_()
    made = client.translators.create(a2b=translator.model_ids["a2b"], name="again")  # type: ignore[index]
    assert made.name == "again"
    assert [item.id for item in client.translators.list(name="again")] == [made.id]


def test_a_job_is_finished_early_and_its_progress_is_seen(
    client: Client, worker: WorkerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    job = model.quantize(weight_bits=4, activation_bits=4, max_steps=100_000)
    with pytest.raises(JobNotEnded, match="goes on") as caught:
        job.wait(timeout=0.5)
    assert isinstance(caught.value, TimeoutError)
    for event in job.events():
        if event.progress is not None and event.progress.training is not None and event.progress.training.step > 2:
            break
    assert job.finish().record.ending
    capsys.readouterr()
    small = job.result(timeout=200, progress=True)
    assert small.quantization is not None
    assert small.quantization.tuning is not None
    assert small.quantization.tuning.ended_by == "request"
    shown = capsys.readouterr().err
    assert job.id in shown
    assert "succeeded" in shown
    assert {type(item).__name__ for item in job.by_products()} == {"RemoteDataset"}
    assert job.refresh().progress is not None


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(display("x", None), NoDisplay)
    assert isinstance(display("x", False), NoDisplay)
    display("x", None).close("done")
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_or_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(phase="tuning", step=1200, agreement=0.975)
    progress = Progress(step="tuning", fraction=0.4, eta_seconds=75, training=training, updated_at=utc_now())
    assert described(progress) == "tuning, step 1,200, agreement 0.975, 1 min 15 s left"
    assert [duration(seconds) for seconds in (3.4, 75, 7260)] == ["3 s", "1 min 15 s", "2 h 1 min"]

    def shown(kind: type[ProgressDisplay]) -> str:
        bar = display("Job", True)
        assert isinstance(bar, kind)
        bar.show(progress)
        bar.close("succeeded")
        return capsys.readouterr().err

    monkeypatch.setenv("COLUMNS", "120")
    in_terminal = shown(RichDisplay)
    assert "40%" in in_terminal
    assert "succeeded" in in_terminal
    monkeypatch.setattr(progress_module, "find_spec", lambda _: None)
    with_tqdm = shown(BarDisplay)
    assert "Job:  40%" in with_tqdm
    assert "succeeded" in with_tqdm
    monkeypatch.setitem(sys.modules, "tqdm", None)
    line = shown(LineDisplay)
    assert line.startswith("\rJob:  40%  tuning, step 1,200")
    assert line.endswith("\n")
    assert all(len(part) <= 80 for part in line.splitlines())
