"""Evaluations over HTTP once they are record: listed, sorted, compared, looked into, deleted."""

from typing import Any

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.evaluations import FeatureDescription, Shown
from faceter.contracts.metrics import Metric
from faceter.contracts.settings import Settings
from faceter.datasets.ranked_samples import RankedSamples
from faceter.store.library import Library
from tests.app.evaluation_records import GENERATED, REFERENCE, add_evaluation, arrays_file, sample_arrays, value
from tests.app.http.test_problems import problem
from tests.app.uploads import image

SHEET = image(seed=5)


def ids(api: httpx.Client, query: str = "") -> list[str]:
    return [item["id"] for item in api.get(f"/v1/evaluations?{query}").json()["items"]]


def test_get_and_links(api: httpx.Client, library: Library) -> None:
    features = FeatureDescription(
        source="model",
        model_id="mdl_x",
        tensor="t",
        dimensions=4,
        reference_features_id="dts_a",
        generated_features_id="dts_b",
    )
    record = add_evaluation(library, files={"map.png": SHEET}, features=features)
    here = f"/v1/evaluations/{record.id}"
    found = api.get(here).json()
    assert found.pop("links") == {
        "self": here,
        "content": f"{here}/content",
        "samples": f"{here}/samples",
        "reference": f"/v1/datasets/{REFERENCE}",
        "generated": f"/v1/datasets/{GENERATED}",
        "model": "/v1/models/mdl_x",
        "map.png": f"{here}/files/map.png",
    }
    assert found == record.model_dump(mode="json", exclude={"links"})
    assert "model" not in api.get(f"/v1/evaluations/{add_evaluation(library).id}").json()["links"]


def test_files_and_content(api: httpx.Client, library: Library) -> None:
    content = arrays_file(sample_arrays())
    record = add_evaluation(library, content=content, files={"map.png": SHEET}, name="naïve gan")
    here = f"/v1/evaluations/{record.id}"
    for address, expected, media_type, filename in (
        (f"{here}/content", content, "application/octet-stream", "na_ve gan.npz"),
        (f"{here}/files/map.png", SHEET, "image/png", "na_ve gan-map.png"),
    ):
        response = api.get(address)
        assert response.content == expected
        assert response.headers["content-type"] == media_type
        assert f'filename="{filename}"' in response.headers["content-disposition"]
        assert api.get(address, headers={"If-None-Match": response.headers["etag"]}).status_code == 304
    assert "It has map.png." in problem(api.get(f"{here}/files/sweep.png"), ProblemKind.NOT_FOUND).detail


def test_delete(api: httpx.Client, library: Library, settings: Settings) -> None:
    record = add_evaluation(library, content=arrays_file(sample_arrays()), files={"map.png": SHEET})
    here = f"/v1/evaluations/{record.id}"
    assert api.delete(here).status_code == 204
    gone = (
        here,
        f"{here}/content",
        f"{here}/files/map.png",
        f"{here}/samples?which=outside",
        f"{here}/comparison?other_id=x",
    )
    for response in (api.delete(here), *(api.get(address) for address in gone)):
        assert "no evaluation" in problem(response, ProblemKind.NOT_FOUND).detail
    assert ids(api) == []
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def test_list_and_filters(api: httpx.Client, library: Library) -> None:
    first = add_evaluation(library, {"fid": 3.5}, name="GAN, epoch 1", settings={"generated_id": "dts_1"}).id
    second = add_evaluation(library, name="flow", settings={"reference_id": "dts_2"}, k=3).id
    assert ids(api) == [second, first]
    assert ids(api, "generated_id=dts_1") == [first]
    assert ids(api, f"generated_id={GENERATED}") == [second]
    assert ids(api, "reference_id=dts_2") == [second]
    assert ids(api, "reference_id=dts_2&generated_id=dts_1") == []
    assert ids(api, "name=gan") == [first]
    page = api.get("/v1/evaluations?limit=1").json()
    assert ids(api, f"limit=1&cursor={page['next_cursor']}") == [first]
    (item,) = api.get("/v1/evaluations?name=epoch").json()["items"]
    assert item["values"] == {"fid": 3.5}
    assert (item["reference_id"], item["generated_id"]) == (REFERENCE, "dts_1")
    assert (item["reference_samples"], item["generated_samples"], item["k"], item["dimensions"]) == (100, 90, 5, 4)
    assert item["links"] == {"self": f"/v1/evaluations/{first}"}


def test_sorted_lists_have_pages(api: httpx.Client, library: Library) -> None:
    best, worst, none = (add_evaluation(library, values).id for values in ({"fid": 1.0}, {"fid": 9.0}, {"kid": 0.1}))
    middle = add_evaluation(library, {"fid": 4.0}).id
    assert ids(api, "sort=fid") == [best, middle, worst, none]
    assert ids(api, "sort=-fid") == [worst, middle, best, none]
    assert ids(api, "sort=kid")[0] == none
    walked: list[str] = []
    query = "sort=-fid&limit=1"
    for _ in range(4):
        page = api.get(f"/v1/evaluations?{query}").json()
        walked += [item["id"] for item in page["items"]]
        query = f"sort=-fid&limit=1&cursor={page['next_cursor']}"
    assert walked == [worst, middle, best, none]
    assert page["next_cursor"] is None


def test_more_evaluations_than_one_page_are_sorted(
    api: httpx.Client, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.paging._PAGE_SIZE", 2)
    record = [add_evaluation(library, {"fid": float(n % 3)}, name="odd" if n % 2 else "even").id for n in range(7)]
    expected = sorted(record[1::2], key=lambda id: (record.index(id) % 3, id))
    assert ids(api, "sort=fid&name=odd") == expected


@pytest.mark.parametrize("sort", ["", "-", "fidelity", "--fid", "FID", "+fid"])
def test_invalid_sort_keys(api: httpx.Client, sort: str) -> None:
    document = problem(api.get("/v1/evaluations", params={"sort": sort}), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == ["sort"]
    assert "density, coverage" in document.detail


def test_cursors_are_valid_for_their_list_only(api: httpx.Client, library: Library) -> None:
    for n in range(2):
        add_evaluation(library, {"fid": float(n)})
    for given, query in (("", "sort=fid"), ("sort=fid", ""), ("sort=fid", "sort=-fid"), ("sort=fid", "sort=kid")):
        cursor = api.get(f"/v1/evaluations?limit=1&{given}").json()["next_cursor"]
        document = problem(api.get(f"/v1/evaluations?{query}&cursor={cursor}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == ["cursor"]


def other_features(tensor: str, sha256: str) -> FeatureDescription:
    return FeatureDescription(
        source="model",
        model_id="mdl_x",
        model_sha256=sha256,
        tensor=tensor,
        dimensions=4,
        reference_features_id=REFERENCE,
        generated_features_id=GENERATED,
    )


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"generated_sha256": "f" * 64, "name": "other", "settings": {"generated_id": "dts_9"}}, {}),
        ({"reference_sha256": "a" * 64}, {"reference": ["1" * 64, "a" * 64]}),
        ({"reference_samples": 50}, {"reference_samples": [100, 50]}),
        ({"generated_samples": 50, "k": 3}, {"generated_samples": [90, 50], "k": [5, 3]}),
        ({"features": other_features("t", "b" * 64)}, {"features": ["as uploaded", f"t of {'b' * 64}"]}),
    ],
)
def test_fields_that_must_be_equal_to_compare(
    api: httpx.Client, library: Library, changes: dict[str, Any], differs: dict[str, list[Any]]
) -> None:
    one = add_evaluation(library)
    other = add_evaluation(library, **changes)
    answer = api.get(f"/v1/evaluations/{one.id}/comparison?other_id={other.id}").json()
    assert (answer["evaluation_id"], answer["other_id"]) == (one.id, other.id)
    assert (answer["comparable"], answer["differences"]) == (not differs, differs)
    assert set(answer["metrics"]) == (set() if differs else {"density", "coverage"})
    newest, oldest = api.get("/v1/evaluations").json()["items"]
    assert (newest["id"], newest["differs"], oldest["differs"]) == (other.id, [], list(differs))


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "better"),
    [
        (Metric.COVERAGE, value(0.9), value(0.8), True),
        (Metric.COVERAGE, value(0.8), value(0.9), False),
        (Metric.COVERAGE, value(0.8), value(0.8), None),
        (Metric.FID, value(3), value(5), True),
        (Metric.FID, value(5), value(3), False),
        (Metric.KID, value(-0.001), value(0.1), True),
        (Metric.KID, value(-0.001), value(-0.002), None),
        (Metric.DENSITY, value(0.8), value(0.9), False),
        (Metric.DENSITY, value(1.2), value(0.9), None),
        (Metric.DENSITY, value(0.9), value(1.2), None),
        (Metric.COVERAGE, value(0.9, [0.85, 0.95]), value(0.8, [0.75, 0.86]), None),
        (Metric.COVERAGE, value(0.9, [0.87, 0.95]), value(0.8, [0.75, 0.86]), True),
        (Metric.COVERAGE, value(0.9), value(0.8, [0.75, 0.9]), None),
        (Metric.FID, value(3, [2.5, 3.5]), value(5, [4.5, 5.5]), True),
    ],
)
def test_which_is_better(
    api: httpx.Client, library: Library, metric: Metric, ours: Any, theirs: Any, better: bool | None
) -> None:
    one, other = add_evaluation(library, {metric: ours}), add_evaluation(library, {metric: theirs, "recall": 0.5})
    answer = api.get(f"/v1/evaluations/{one.id}/comparison?other_id={other.id}").json()["metrics"]
    assert list(answer) == [metric]
    assert answer[metric] == {
        "value": ours.value,
        "other": theirs.value,
        "difference": ours.value - theirs.value,
        "better": better,
    }


def test_invalid_comparisons(api: httpx.Client, library: Library) -> None:
    here = f"/v1/evaluations/{add_evaluation(library).id}/comparison"
    document = problem(api.get(f"{here}?other_id=evl_none"), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == ["other_id"]
    assert "evl_none" in document.detail
    assert [error.field for error in problem(api.get(here), ProblemKind.INVALID_REQUEST).errors] == ["other_id"]


@pytest.mark.parametrize("which", list(Shown))
def test_samples_in_pages(api: httpx.Client, library: Library, which: Shown) -> None:
    found = sample_arrays(seed=1, generated=23, reference=17)
    here = f"/v1/evaluations/{add_evaluation(library, content=arrays_file(found)).id}/samples?which={which}"
    samples = RankedSamples.of(found)
    rows = samples.order(which).tolist()
    pages = [api.get(f"{here}&limit=3").json()]
    while pages[-1]["next_cursor"]:
        pages.append(api.get(f"{here}&limit=3&cursor={pages[-1]['next_cursor']}").json())
    expected = [samples.sample(which, row).model_dump(mode="json") for row in rows]
    assert [item for page in pages for item in page["items"]] == expected
    assert len(pages) == -(-len(rows) // 3)
    assert {(page["which"], page["total"]) for page in pages} == {(which, len(rows))}


def test_a_cursor_of_other_samples(api: httpx.Client, library: Library) -> None:
    here = f"/v1/evaluations/{add_evaluation(library, content=arrays_file(sample_arrays())).id}/samples"
    cursor = api.get(f"{here}?which=densest&limit=1").json()["next_cursor"]
    assert cursor
    for query in (
        f"which=closest&cursor={cursor}",
        "which=densest&cursor=WyJkZW5zZXN0IiwtMV0",
        "which=densest&cursor=x",
    ):
        document = problem(api.get(f"{here}?{query}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == ["cursor"]


@pytest.mark.parametrize(("query", "field"), [("which=worst", "which"), ("which=outside&limit=0", "limit")])
def test_unknown_samples(api: httpx.Client, library: Library, query: str, field: str) -> None:
    here = f"/v1/evaluations/{add_evaluation(library).id}/samples?{query}"
    assert [error.field for error in problem(api.get(here), ProblemKind.INVALID_REQUEST).errors] == [field]


def test_a_contact_sheet(api: httpx.Client, library: Library) -> None:
    record = add_evaluation(library, content=arrays_file(sample_arrays()), files={"outside.png": SHEET})
    here = f"/v1/evaluations/{record.id}"
    response = api.get(f"{here}/files/outside.png")
    assert (response.content, response.headers["content-type"]) == (SHEET, "image/png")
    assert api.get(here).json()["links"]["outside.png"] == f"{here}/files/outside.png"
    samples = api.get(f"{here}/samples?which=outside", headers={"Accept": "image/png"})
    assert samples.json()["which"] == "outside"


def test_a_missing_file(api: httpx.Client, library: Library) -> None:
    record = add_evaluation(library)
    library.blobs.delete(record.sha256)
    problem(api.get(f"/v1/evaluations/{record.id}/samples?which=outside"), ProblemKind.BLOB_MISSING)
