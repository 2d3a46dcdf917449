"""Grading in the console: from an empty service to metrics, map, samples and a comparison of runs."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import NARROW, WIDE, accessibility_faults, sideways_scroll, watched_page

pytestmark = pytest.mark.end_to_end

_LONG = 120_000
_EACH = 60
_LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="module")
def sets(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images of CIFAR-10 as `real.zip`, and others with three copies of real ones as `generated.zip`."""
    folder = tmp_path_factory.mktemp("sets")
    with ZipFile(shared_data / "cifar10" / "test.zip") as source:
        names = sorted(name for name in source.namelist() if name.endswith(".jpg"))
        real = names[:: len(names) // _EACH][:_EACH]
        generated = [name for name in names[1::25] if name.startswith(("cat", "dog", "ship")) and name not in real][
            : _EACH - 3
        ]
        paths = {}
        for role, chosen in (("real", real), ("generated", [*generated, *real[:3]])):
            paths[role] = folder / f"{role}.zip"
            with ZipFile(paths[role], "w") as file:
                for name in chosen:
                    file.writestr(name, source.read(name))
    return paths


@pytest.fixture(scope="module")
def network(url: str, shared_data: Path) -> str:
    """Id of ResNet-20 for CIFAR-10."""
    metadata = {
        "task": "image_classification",
        "labels": _LABELS,
        "preprocessing": {
            "size": [32, 32],
            "scale": 1 / 255,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
    }
    with (shared_data / "cifar10" / "resnet20.onnx").open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/models", files={"file": file}, data={"name": "resnet20", "metadata": json.dumps(metadata)}
        )
    return str(answer.raise_for_status().json()["id"])


def _dataset(url: str, file: Path, kind: str, name: str) -> str:
    with file.open("rb") as content:
        answer = httpx.post(f"{url}/v1/datasets", files={"file": content}, data={"kind": kind, "name": name})
    return str(answer.raise_for_status().json()["id"])


def _graded(url: str, **request: Any) -> str:
    """Grade by the API; return the id of the evaluation."""
    job = httpx.post(f"{url}/v1/evaluations", json=request).raise_for_status().json()["id"]
    httpx.get(f"{url}/v1/jobs/{job}/events", timeout=120).raise_for_status()
    return str(httpx.get(f"{url}/v1/jobs/{job}").json()["result"]["id"])


@pytest.fixture(scope="module")
def runs(url: str, network: str, sets: dict[str, Path]) -> tuple[str, str]:
    """Ids of two comparable evaluations: of the generated images, and of the real ones themselves."""
    real, generated = (_dataset(url, sets[role], "images", role) for role in ("real", "generated"))
    common = {
        "reference_id": real,
        "features": {"model_id": network, "tensor": "mean"},
        "k": [3, 2, 5],
        "bootstrap": 50,
    }
    return (
        _graded(url, **common, generated_id=generated, name="epoch 20", per_class=True),
        _graded(url, **common, generated_id=real, name="perfect"),
    )


@pytest.fixture(scope="module")
def of_features(url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of an evaluation of features, whose samples are no images."""
    ids, rng = [], np.random.default_rng(0)
    for name in ("first", "second"):
        path = tmp_path_factory.mktemp("features") / f"{name}.npz"
        np.savez(path, features=rng.normal(size=(30, 4)).astype(np.float32))
        ids.append(_dataset(url, path, "features", name))
    return _graded(url, reference_id=ids[0], generated_id=ids[1], k=2, name="of features")


def _upload(page: Page, file: Path) -> None:
    page.get_by_label("here, or choose a file").set_input_files(file)
    page.get_by_role("button", name="Upload").click()


def test_an_empty_service_says_what_grading_needs(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(url)
        page.get_by_role("link", name="Evaluations").click()
        expect(page.get_by_text("There is no evaluation yet")).to_be_visible()
        expect(page.get_by_text(f"curl {url}/v1/evaluations")).to_be_visible()
        page.get_by_role("link", name="Grade samples").click()
        expect(page.get_by_role("heading", name="Upload both sets first")).to_be_visible()
        expect(page.get_by_text("There is no model.")).to_be_visible()
        expect(page.get_by_role("button", name="Start the job")).to_be_disabled()


def test_both_sets_are_uploaded_graded_and_looked_at(
    browser: Browser, url: str, network: str, sets: dict[str, Path]
) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/evaluations/new")
        _upload(page, sets["real"])
        expect(page.get_by_text("One is here, the other is missing.")).to_be_visible()
        _upload(page, sets["generated"])
        expect(page.get_by_role("heading", name="Upload both sets first")).to_be_hidden()
        expect(page.get_by_label("Real samples")).to_contain_text("real (images, 60 samples)")
        assert page.get_by_label("Model", exact=True).input_value() == network
        assert page.get_by_label("Tensor").input_value() == "mean"
        page.get_by_label("Probabilistic recall").uncheck()
        page.get_by_label("Classifier, for the inception score only").select_option(network)
        expect(page.get_by_label("Inception score", exact=True)).to_be_checked()
        page.get_by_label("k, several for a sweep").fill("3, 2, 5")
        page.get_by_label("Bootstrap replicates").fill("50")
        page.get_by_label("Name (optional)").fill("epoch 10")
        page.reload()
        expect(page.get_by_label("Name (optional)")).to_have_value("epoch 10")
        expect(page.get_by_label("Probabilistic recall")).not_to_be_checked()
        page.get_by_role("button", name="Start the job").click()
        page.wait_for_url("**/#/jobs/job_*")
        page.get_by_role("link", name="See the result").click(timeout=_LONG)

        page.wait_for_url("**/#/evaluations/evl_*")
        page.reload()
        expect(page.get_by_role("heading", name="epoch 10")).to_be_visible()
        record = httpx.get(f"{url}/v1/evaluations/{page.url.rpartition('/')[2]}").json()
        assert (record["k"], len(record["sweep"]), record["settings"]["bootstrap"]) == (3, 3, 50)
        assert "inception_score" in record["metrics"]
        assert "p_recall" not in record["metrics"]
        coverage = record["metrics"]["coverage"]
        chart = page.get_by_role("img", name=f"Coverage: {coverage['value']:.3g}", exact=False).first
        expect(chart).to_have_accessible_name(
            f"Coverage: {_short(coverage['value'])}, 95 % interval {_short(coverage['interval'][0])} to "
            f"{_short(coverage['interval'][1])}, expected {_short(coverage['expected'])}"
        )
        expect(page.get_by_role("img", name="Diversity by k")).to_be_visible()

        page.locator(".map-plot").scroll_into_view_if_needed()
        box = page.locator(".map-plot canvas").bounding_box()
        assert box is not None
        for share in (0.3, 0.4, 0.5, 0.6):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.45 * box["height"])
        sample = page.locator(".map-sample").get_by_role("img")
        expect(sample).to_have_count(2)
        for image in sample.all():
            expect(image).to_have_js_property("naturalWidth", 32)

        page.get_by_role("radio", name="Copies").check()
        expect(page.get_by_text("equal features")).to_have_count(3)
        page.get_by_role("radio", name="Uncovered").check()
        page.reload()
        expect(page.get_by_role("radio", name="Uncovered")).to_be_checked()
        expect(page.get_by_text(f"of {record['shown']['uncovered']}", exact=False).last).to_be_visible()


def _short(value: float) -> str:
    """As JavaScript's `toPrecision(3)` for values between 0.001 and 100."""
    return f"{value:#.3g}"


def test_the_keyboard_goes_from_point_to_point(browser: Browser, url: str, runs: tuple[str, str]) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/evaluations/{runs[0]}")
        plot = page.get_by_role("application", name="Map of both sets")
        plot.focus()
        heading = page.locator(".map-sample").get_by_role("heading")
        expect(heading).to_be_visible()
        seen = {heading.inner_text()}
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
            plot.press(key)
            seen.add(heading.inner_text())
        assert len(seen) >= 3
        shown = heading.inner_text()
        page.reload()
        expect(heading).to_have_text(shown)
        points = page.evaluate("document.querySelector('.map-plot canvas').toDataURL().length")
        page.get_by_label("only those outside or uncovered").check()
        assert page.evaluate("document.querySelector('.map-plot canvas').toDataURL().length") < points


def test_runs_are_chosen_and_compared_in_a_table(
    browser: Browser, url: str, runs: tuple[str, str], of_features: str
) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/evaluations?sort=-coverage")
        page.get_by_label("Compare epoch 20").focus()
        page.keyboard.press("Space")
        page.get_by_label("Compare perfect").check()
        page.get_by_role("link", name="Compare 2").click()
        table = page.get_by_role("region", name="Comparison of evaluations")
        comparison = httpx.get(f"{url}/v1/evaluations/{runs[0]}/comparison?other_id={runs[1]}").json()["metrics"]
        for title, name in (("Coverage", "coverage"), ("FID", "fid"), ("Authenticity", "authenticity")):
            verdict = {True: "worse", False: "better", None: "undecided"}[comparison[name]["better"]]
            expect(table.get_by_role("row", name=title, exact=False).first).to_contain_text(verdict)
        page.get_by_label("Add an evaluation").select_option(of_features)
        expect(page.get_by_text("cannot be compared with the first")).to_be_visible()
        page.reload()
        expect(page.get_by_text("cannot be compared with the first")).to_be_visible()
        page.get_by_role("button", name="Leave out of features").click()
        expect(page.get_by_text("cannot be compared with the first")).to_be_hidden()


def test_samples_that_are_no_images_are_a_table(browser: Browser, url: str, of_features: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/evaluations/{of_features}?which=densest")
        expect(page.get_by_role("region", name="Samples").get_by_role("row")).to_have_count(13)
        page.get_by_role("button", name="Show more").click()
        expect(page.get_by_role("region", name="Samples").get_by_role("row")).to_have_count(25)


def test_a_refused_request_shows_its_field_and_a_missing_evaluation_is_said(
    browser: Browser, url: str, runs: tuple[str, str]
) -> None:
    with watched_page(browser, url, expected="status of 4") as page:
        page.goto(f"{url}/#/evaluations/new?like={runs[0]}")
        page.get_by_label("Most samples of each set").fill("4")
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_role("alert")).to_contain_text("subsample")
        expect(page.get_by_role("alert")).to_contain_text("Take at least")
        page.goto(f"{url}/#/evaluations/evl_00000000000000000000")
        expect(page.get_by_role("alert")).to_contain_text("evl_00000000000000000000")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_every_page_of_grading_fits_and_is_accessible(
    browser: Browser, url: str, runs: tuple[str, str], of_features: str, size: tuple[int, int], scheme: str
) -> None:
    pages = {
        "evaluations": "perfect",
        f"evaluations/new?like={runs[0]}": "Start the job",
        f"evaluations/{runs[0]}?which=closest": "By class",
        f"evaluations/{of_features}": "Samples to look at",
        f"evaluations/compare?ids={runs[0]},{runs[1]}": "Leave out",
    }
    with watched_page(browser, url, size, scheme) as page:
        for path, text in pages.items():
            page.goto(f"{url}/#/{path}")
            expect(page.get_by_text(text).or_(page.get_by_label(text)).first).to_be_visible()
            if "closest" in path:
                page.get_by_role("application").focus()
                page.get_by_text("Table", exact=True).first.click()
                page.get_by_role("button", name="Delete").click()
            assert sideways_scroll(page) <= 0, path
            assert accessibility_faults(page) == [], path
