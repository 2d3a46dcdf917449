"""Explanations in the console: from an empty service to units, analyses and the search over all of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.console.browser import NARROW, WIDE, accessibility_faults, sideways_scroll, watched_page

pytestmark = pytest.mark.end_to_end

_LONG = 120_000
_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_PAIRS, _STREETS = 400, 20
_UNITS = list(range(32))
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_GROUPS = "round: zero, six, eight, nine\nstraight: one, four, seven"


def _made(url: str, path: str, **request: Any) -> str:
    """Run a job by the API; return the id of its result."""
    job = httpx.post(f"{url}{path}", json=request).raise_for_status().json()["id"]
    events = httpx.get(f"{url}/v1/jobs/{job}/events", timeout=120).text
    end = json.loads([line for line in events.splitlines() if line.startswith("data: ")][-1].removeprefix("data: "))
    assert end["status"] == "succeeded", end
    return str(end["result"]["id"])


def _uploaded(url: str, path: str, file: Path, **fields: str) -> str:
    with file.open("rb") as content:
        answer = httpx.post(f"{url}{path}", files={"file": content}, data=fields)
    return str(answer.raise_for_status().json()["id"])


@pytest.fixture(scope="module")
def model(url: str, digits: Path) -> str:
    """Id of the digits model."""
    metadata = (digits / "metadata.json").read_text()
    return _uploaded(url, "/v1/models", digits / "model.onnx", name="digits", metadata=metadata)


@pytest.fixture(scope="module")
def explanation(url: str, model: str, digits: Path) -> str:
    """Id of an explanation of the digits model: a layer with weights to the classes, and one without."""
    probe = _uploaded(url, "/v1/datasets", digits / "labelled.zip", name="labelled digits", kind="concepts")
    request = {"dataset_id": probe, "quantile": 0.05, "resolution": [8, 8], "derived_concepts": ["position"]}
    return _made(url, f"/v1/models/{model}/explanations", layer=["relu_2", "relu_4"], units=_UNITS, **request)


@pytest.fixture(scope="module")
def quantized(url: str, model: str) -> str:
    return _made(url, f"/v1/models/{model}/quantizations", method="rq", weight_bits=3, activation_bits=4)


@pytest.fixture(scope="module")
def sentences(url: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of an explanation of a classifier of sentence pairs, on some pairs of SNLI."""
    path = tmp_path_factory.mktemp("nli") / "pairs.zip"
    with ZipFile(shared_data / "nli" / "snli.zip") as source, ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, b"\n".join(content.split(b"\n")[:_PAIRS]) if name == "pairs.jsonl" else content)
    metadata = {
        "task": "text_pair_classification",
        "labels": ["entailment", "neutral", "contradiction"],
        "output": "logits",
    }
    onnx = shared_data / "nli" / "snli_mlp.onnx"
    classifier = _uploaded(url, "/v1/models", onnx, name="sentences", metadata=json.dumps(metadata))
    pairs = _uploaded(url, "/v1/datasets", path, kind="text_pairs")
    request = {"dataset_id": pairs, "layer": "hidden", "units": list(range(30)), "cut_sentences": True}
    return _made(url, f"/v1/models/{classifier}/explanations", **request)


@pytest.fixture(scope="module")
def streets(url: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of an explanation of a classifier of CIFAR-10, on some street scenes of CamVid."""
    path = tmp_path_factory.mktemp("camvid") / "streets.zip"
    with ZipFile(shared_data / "camvid" / "val.zip") as source, ZipFile(path, "w") as target:
        kept = sorted(Path(name).stem for name in source.namelist() if name.startswith("images/"))[:_STREETS]
        for name in source.namelist():
            content = source.read(name)
            if name == "image_labels.csv":
                header, *rows = content.decode().splitlines()
                target.writestr(name, "\n".join([header, *(row for row in rows if row.split(",")[0] in kept)]))
            elif name == "concepts.json" or Path(name).stem in kept:
                target.writestr(name, content)
    preprocessing = {"size": [32, 32], "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    metadata = {"task": "image_classification", "labels": _CLASSES, "preprocessing": preprocessing}
    onnx = shared_data / "cifar10" / "resnet20.onnx"
    classifier = _uploaded(url, "/v1/models", onnx, name="resnet20", metadata=json.dumps(metadata))
    scenes = _uploaded(url, "/v1/datasets", path, kind="concepts", name="streets")
    request = {"dataset_id": scenes, "layer": "relu_18", "quantile": 0.05, "resolution": [32, 32], "max_length": 2}
    return _made(url, f"/v1/models/{classifier}/explanations", **request)


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with watched_page(browser, url) as page:
        yield page


def _units(url: str, explanation: str, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = httpx.get(f"{url}/v1/explanations/{explanation}/units", params=query).json()["items"]
    return items


def _card(page: Page, number: int, layer: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_text(f"unit {number} of {layer}", exact=True))


def _loaded(image: Locator) -> bool:
    return bool(image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)"))


def _start(page: Page) -> str:
    """Start the job of a form and open its result; return the id of the result."""
    page.get_by_role("button", name="Start the job").click()
    page.wait_for_url("**/#/jobs/job_*")
    page.get_by_role("link", name="See the result").click(timeout=_LONG)
    page.wait_for_url(lambda address: "/jobs/" not in address)
    return page.url.rpartition("/")[2].partition("?")[0]


def test_from_an_empty_service_to_a_unit(browser: Browser, url: str, digits: Path) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/explanations")
        expect(page.get_by_role("heading", name="There is no explanation yet")).to_be_visible()
        expect(page.get_by_text(f"curl {url}/v1/models/mdl_…/explanations")).to_be_visible()
        metadata = (digits / "metadata.json").read_text()
        made = _uploaded(url, "/v1/models", digits / "model.onnx", name="first digits", metadata=metadata)

        page.goto(f"{url}/#/models/{made}")
        page.get_by_role("link", name="Explain", exact=True).click()
        expect(page.get_by_role("heading", name="A dataset with concepts is needed")).to_be_visible()
        page.get_by_label("here, or choose a file").set_input_files(digits / "labelled.zip")
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_label("Dataset with labelled concepts")).to_contain_text("597 images")

        expect(page.get_by_label("relu_4", exact=True)).to_be_checked()
        page.get_by_label("a share of its activations").check()
        page.get_by_label("Share of the activations").fill("5")
        page.get_by_label("position").check()
        page.get_by_text("More options").click()
        page.get_by_label("Units", exact=True).fill("0-9, 24")
        page.get_by_label("Height of masks").fill("8")
        page.get_by_label("Width of masks").fill("8")
        page.reload()
        expect(page.get_by_label("Share of the activations")).to_have_value("5")
        page.get_by_text("The same by the API").click()
        expect(page.locator("pre").last).to_contain_text('"quantile":0.05')

        explanation = _start(page)
        settings = httpx.get(f"{url}/v1/explanations/{explanation}").json()["settings"]
        assert settings["units"] == [*range(10), 24]
        assert (settings["quantile"], settings["resolution"], settings["derived_concepts"]) == (
            0.05,
            [8, 8],
            ["position"],
        )
        best = _units(url, explanation, sort="-score", limit=1)[0]
        first = page.get_by_role("listitem").filter(has=page.locator("unit-card")).first
        expect(first).to_contain_text(f"unit {best['unit']} of relu_4")
        assert _loaded(first.get_by_role("img"))
        first.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(best["formula"])
        page.wait_for_load_state("networkidle")
    httpx.delete(f"{url}/v1/explanations/{explanation}").raise_for_status()
    httpx.delete(f"{url}/v1/datasets/{settings['dataset_id']}").raise_for_status()


def test_units_are_filtered_and_sorted_and_a_reload_shows_the_same(page: Page, url: str, explanation: str) -> None:
    page.goto(f"{url}/#/explanations/{explanation}")
    expect(page.get_by_text("64 units, 24 shown")).to_be_visible()
    page.get_by_role("button", name="Next units").click()
    expect(page.get_by_role("button", name="First units")).to_be_visible()
    page.get_by_label("Layer", exact=True).select_option("relu_4")
    page.get_by_label("Concept", exact=True).fill("five")
    page.get_by_label("Concept", exact=True).press("Enter")
    page.get_by_label("IoU at least").fill("0.2")
    page.get_by_label("Sort by").select_option("ceiling")
    wanted = _units(url, explanation, layer="relu_4", concept="five", min_score=0.2, sort="ceiling", limit=24)
    cards = page.locator("unit-card")
    expect(cards).to_have_count(len(wanted))
    expect(cards.first).to_contain_text(f"unit {wanted[0]['unit']} of relu_4")
    page.reload()
    expect(cards).to_have_count(len(wanted))
    assert page.get_by_label("Concept", exact=True).input_value() == "five"
    page.get_by_label("Formula contains").fill("and not BOTTOM")
    page.get_by_label("Formula contains").press("Enter")
    expect(cards).to_have_count(sum("AND NOT bottom" in unit["formula"] for unit in wanted))
    page.get_by_label("Concept", exact=True).fill("nothing")
    page.get_by_label("Concept", exact=True).press("Enter")
    expect(page.get_by_text("No unit matches")).to_be_visible()


def test_a_unit_shows_samples_formula_lengths_and_classes(page: Page, url: str, explanation: str) -> None:
    best = _units(url, explanation, sort="-score", layer="relu_4", limit=1)[0]
    unit = httpx.get(f"{url}/v1/explanations/{explanation}/units/{best['unit']}?layer=relu_4").json()
    page.goto(f"{url}/#/explanations/{explanation}")
    _card(page, best["unit"], "relu_4").get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(unit["formula"])
    images = page.locator("unit-samples img")
    expect(images).to_have_count(len(unit["examples"]))
    assert _loaded(images.last)
    expect(page.locator("unit-samples")).to_contain_text(unit["examples"][0]["name"].split("/")[1])
    assert [text for text in page.locator(".tree .concept").all_inner_texts() if text in unit["formula"]]
    lengths = page.get_by_role("region", name="IoU by length").locator("tbody tr")
    expect(lengths).to_have_count(len(unit["scores"]) + 1)
    expect(lengths.last).to_contain_text(f"{unit['ceiling']:.3f}")
    strongest = max(unit["classes"], key=lambda one: one["weight"])
    expect(page.get_by_role("region", name="Classes").locator("tbody tr").first).to_contain_text(strongest["label"])
    page.goto(f"{url}/#/explanations/{explanation}/units/{best['unit']}?layer=relu_2")
    expect(page.get_by_text("has no weights to classes")).to_be_visible()


def test_the_units_of_all_explanations_are_searched(page: Page, url: str, explanation: str, sentences: str) -> None:
    page.goto(f"{url}/#/explanations")
    search = page.get_by_role("search")
    search.get_by_label("Formula contains").fill("and not")
    search.get_by_label("Formula contains").press("Enter")
    for name in ("digits", "sentences"):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    search.get_by_label("Concept").fill("SEVEN")
    search.get_by_label("Concept").press("Enter")
    expect(page.get_by_role("heading", name="sentences", exact=True)).to_be_hidden()
    expect(page.locator("unit-card").first).to_contain_text("seven")
    page.reload()
    expect(page.locator("unit-card").first).to_contain_text("seven")
    search.get_by_label("IoU at least").fill("1")
    search.get_by_label("IoU at least").press("Enter")
    expect(page.get_by_text("No unit matches")).to_be_visible()
    page.get_by_label("Name contains").fill("hidden of")
    page.get_by_label("Name contains").press("Enter")
    expect(page.get_by_role("region", name="Explanations").locator("tbody tr")).to_have_count(1)


def test_abstractions_by_groups(page: Page, url: str, explanation: str) -> None:
    page.goto(f"{url}/#/explanations/{explanation}")
    page.get_by_role("link", name="Abstractions").click()
    page.get_by_label("Groups of related concepts").fill(_GROUPS)
    made = httpx.get(f"{url}/v1/analyses/{_start(page)}").json()
    assert made["settings"]["taxonomy"] == {
        "round": ["zero", "six", "eight", "nine"],
        "straight": ["one", "four", "seven"],
    }
    rows = page.get_by_role("region", name="Units by kind").locator("tbody tr")
    expect(rows).to_have_count(len(made["result"]["units"]))
    page.get_by_label("Kind", exact=True).select_option("specialized")
    specialized = sum(unit["kind"] == "specialized" for unit in made["result"]["units"])
    expect(rows).to_have_count(specialized)
    page.reload()
    expect(rows).to_have_count(specialized)


def test_interpretability_needs_a_labelled_dataset(page: Page, url: str, explanation: str, digits: Path) -> None:
    address = f"{url}/#/explanations/{explanation}/analyse?kind=interpretability"
    page.goto(address)
    expect(page.get_by_text("A labelled dataset is needed.")).to_be_visible()
    expect(page.get_by_role("button", name="Start the job")).to_be_disabled()
    labelled = _uploaded(url, "/v1/datasets", digits / "held-out.zip", name="held-out", kind="images")
    page.reload()
    expect(page.get_by_label("Labelled dataset")).to_have_value(labelled)
    _start(page)
    expect(page.get_by_role("img", name="Accuracy where each unit fires")).to_be_visible()
    page.get_by_text("Plot for each length").click()
    assert _loaded(page.get_by_role("img", name="a panel for each length"))


def test_copy_paste_shows_original_donor_and_result(page: Page, url: str, streets: str) -> None:
    page.goto(f"{url}/#/explanations/{streets}/analyse?kind=copy_paste")
    page.get_by_label("Class to bring about").fill("airplane")
    page.get_by_label("Inputs to edit").fill("40")
    result = httpx.get(f"{url}/v1/analyses/{_start(page)}").json()["result"]
    edits = page.locator(".edits > li")
    expect(edits).to_have_count(len(result["examples"]))
    images = edits.first.get_by_role("img")
    expect(images).to_have_count(3)
    assert all(_loaded(image) for image in images.all())
    edit = result["examples"][0]
    expect(edits.first).to_contain_text(Path(edit["donor"]).name)
    expect(edits.first.locator(".outcome .tag")).to_have_text([edit["predicted_before"], "airplane"])
    expect(edits.first).to_contain_text(f"{edit['probability_after']:.3f}")


def test_drift_shows_units_before_and_after(page: Page, url: str, explanation: str, quantized: str) -> None:
    page.goto(f"{url}/#/explanations/{explanation}/analyse?kind=drift")
    expect(page.get_by_text("Check at least one model.")).to_be_visible()
    page.get_by_label("rq").focus()
    page.keyboard.press("Space")
    analysis = _start(page)
    (drift,) = httpx.get(f"{url}/v1/analyses/{analysis}").json()["result"]["models"]
    expect(page.get_by_role("region", name="Drift of models")).to_contain_text(f"{drift['mean_iou']:.3f}")
    worst = min(drift["units"], key=lambda unit: unit["score_after"] - unit["score_before"])
    first = page.locator(".drifted > li").first
    expect(first).to_contain_text(worst["formula_before"])
    expect(first).to_contain_text(worst["formula_after"] or "no formula")
    assert _loaded(first.get_by_role("img"))
    page.get_by_label("Sort by").select_option("iou")
    moved = min(drift["units"], key=lambda unit: unit["iou"])
    expect(first).to_contain_text(f"Unit {moved['unit']} of {moved['layer']}")
    page.get_by_role("button", name="the same way").click()
    page.get_by_role("link", name="See the result").wait_for(timeout=_LONG)
    page.goto(f"{url}/#/analyses/{analysis}")
    expect(first.get_by_role("img")).to_have_count(2)
    assert all(_loaded(image) for image in first.get_by_role("img").all())


def test_texts_are_marked_with_the_words_of_the_formula(page: Page, url: str, sentences: str) -> None:
    analysis = _made(url, f"/v1/explanations/{sentences}/analyses", kind="copy_paste", label="contradiction", tries=50)
    units = [unit for unit in _units(url, sentences, sort="-score", limit=100) if "tok:" in (unit["formula"] or "")]
    page.goto(f"{url}/#/explanations/{sentences}")
    card = _card(page, units[0]["unit"], "hidden")
    expect(card).to_contain_text("Hypothesis")
    for unit in units:
        page.goto(f"{url}/#/explanations/{sentences}/units/{unit['unit']}")
        expect(page.get_by_role("heading", level=1)).to_have_text(unit["formula"])
        words = {word.lower() for word in page.locator("unit-samples li mark:not(.both)").all_inner_texts()}
        assert words <= {name.strip("()").split(":tok:")[1] for name in unit["formula"].split() if ":tok:" in name}
        if words:
            break
    else:
        pytest.fail("no unit has a word of its formula in its strongest samples")
    page.goto(f"{url}/#/analyses/{analysis}")
    expect(page.locator(".edits ins, .edits del").first).to_be_visible()


def test_what_the_service_refuses_is_said_and_the_form_is_kept(browser: Browser, url: str, explanation: str) -> None:
    with watched_page(browser, url, expected="status of 422") as page:
        page.goto(f"{url}/#/explanations/{explanation}/analyse?kind=copy_paste")
        page.get_by_label("Class to bring about").fill("thre")
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_role("alert")).to_contain_text("Similar labels: 'three'")
        assert page.get_by_label("Class to bring about").input_value() == "thre"
    with watched_page(browser, url, expected="status of 4") as page:
        page.goto(f"{url}/#/explanations/{explanation}/units/999?layer=relu_4")
        expect(page.get_by_role("alert")).to_contain_text("999")
        page.goto(f"{url}/#/explanations/exp_00000000000000000000")
        expect(page.get_by_role("alert")).to_contain_text("exp_00000000000000000000")


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_pages_fit_and_are_accessible(
    browser: Browser, url: str, model: str, explanation: str, sentences: str, size: tuple[int, int]
) -> None:
    analyses = httpx.get(f"{url}/v1/analyses", params={"limit": 100}).json()["items"]
    latest = {analysis["kind"]: analysis["id"] for analysis in reversed(analyses)}
    pages = {
        "explanations?find_formula=and": "ceiling",
        f"models/{model}/explain": "Start the job",
        f"explanations/{explanation}": "64 units",
        f"explanations/{sentences}": "30 units",
        f"explanations/{explanation}/units/0?layer=relu_4": "Strongest samples",
        f"explanations/{sentences}/units/0": "unit 0 of",
        **{f"explanations/{explanation}/analyse?kind={kind}": "Start the job" for kind in latest},
        **{f"analyses/{id}": "How it was made" for id in latest.values()},
    }
    with watched_page(browser, url, size) as page:
        for path, text in pages.items():
            page.goto(f"{url}/#/{path}")
            expect(page.get_by_text(text).first).to_be_visible()
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            page.wait_for_load_state("networkidle")
            assert sideways_scroll(page) <= 0, path
            for scheme in _SCHEMES:
                page.emulate_media(color_scheme=scheme)
                assert accessibility_faults(page) == [], (path, scheme)


def test_an_explanation_outlives_its_dataset_and_is_deleted(browser: Browser, url: str, explanation: str) -> None:
    dataset = httpx.get(f"{url}/v1/explanations/{explanation}").json()["settings"]["dataset_id"]
    httpx.delete(f"{url}/v1/datasets/{dataset}").raise_for_status()
    with watched_page(browser, url, expected="status of 404") as page:
        page.goto(f"{url}/#/explanations/{explanation}")
        expect(page.get_by_text("The dataset was deleted")).to_be_visible()
        expect(page.locator("unit-card img")).to_have_count(0)
        page.goto(f"{url}/#/explanations/{explanation}/units/0?layer=relu_4")
        expect(page.get_by_text("The samples cannot be drawn")).to_be_visible()
        page.goto(f"{url}/#/explanations/{explanation}")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete the explanation").click()
        page.wait_for_url("**/#/explanations")
    assert httpx.get(f"{url}/v1/explanations/{explanation}").status_code == 404
