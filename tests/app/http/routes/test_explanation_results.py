"""Explanations over HTTP once they are record: listed, their units listed, sorted, looked at, deleted."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.services.explanations.units import UnitReader
from app.services.jobs.queue import JobQueue
from faceter.contracts.analyses import AbstractionsRequest
from faceter.contracts.errors import ProblemKind
from faceter.contracts.explanations import Explanation
from faceter.contracts.jobs import AnalysisJob
from faceter.contracts.settings import Settings
from faceter.contracts.units import Unit
from faceter.explanations.units import encode_units
from faceter.store.library import Library
from tests.app.explanation_records import DATASET, LAYERED_UNITS, LAYERS, MODEL, UNITS, add_explanation, unit
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model, image

PLOT = image(seed=5)


def ids(api: httpx.Client, query: str = "") -> list[str]:
    return [item["id"] for item in api.get(f"/v1/explanations?{query}").json()["items"]]


def walk(api: httpx.Client, address: str, limit: int = 1) -> Iterator[dict[str, Any]]:
    """Yield all items of a list, page by page."""
    cursor = ""
    joint = "&" if "?" in address else "?"
    while True:
        page = api.get(f"{address}{joint}limit={limit}{cursor}").json()
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


def units(items: Any) -> list[int]:
    return [item["unit"] for item in items]


def test_get_and_links(api: httpx.Client, library: Library) -> None:
    record = add_explanation(library, files={"layers.png": PLOT})
    here = f"/v1/explanations/{record.id}"
    resource = api.get(here).json()
    assert resource.pop("links") == {
        "self": here,
        "content": f"{here}/content",
        "units": f"{here}/units",
        "analyses": f"{here}/analyses",
        "model": f"/v1/models/{MODEL}",
        "dataset": f"/v1/datasets/{DATASET}",
        "layers.png": f"{here}/files/layers.png",
    }
    assert resource.pop("actions") == {"analyse": f"{here}/analyses"}
    assert resource == record.model_dump(mode="json", exclude={"links", "actions"})


def test_a_model_links_to_its_explanations(api: httpx.Client) -> None:
    model = add_model(api)
    assert api.get(model["links"]["units"]).json() == {"items": [], "next_cursor": None}
    assert api.get(model["links"]["explanations"]).json() == {"items": [], "next_cursor": None}
    problem(api.post(model["actions"]["explain"], json={}), ProblemKind.INVALID_REQUEST)


def test_files_and_content(api: httpx.Client, library: Library) -> None:
    record = add_explanation(library, files={"layers.png": PLOT}, name="naïve")
    here = f"/v1/explanations/{record.id}"
    for address, expected, media_type, filename in (
        (f"{here}/content", encode_units(UNITS), "application/json", "na_ve.json"),
        (f"{here}/files/layers.png", PLOT, "image/png", "na_ve-layers.png"),
    ):
        response = api.get(address)
        assert response.content == expected
        assert response.headers["content-type"] == media_type
        assert f'filename="{filename}"' in response.headers["content-disposition"]
        assert api.get(address, headers={"If-None-Match": response.headers["etag"]}).status_code == 304
    assert "It has layers.png." in problem(api.get(f"{here}/files/x.png"), ProblemKind.NOT_FOUND).detail
    assert len(api.get(f"{here}/content").json()) == len(UNITS)


def test_delete(api: httpx.Client, library: Library, settings: Settings) -> None:
    record = add_explanation(library, files={"layers.png": PLOT})
    here = f"/v1/explanations/{record.id}"
    addresses = (
        here,
        f"{here}/content",
        f"{here}/files/layers.png",
        f"{here}/units",
        f"{here}/units/1",
        f"{here}/units/1/image",
    )
    api.get(f"{here}/units")
    assert api.delete(here).status_code == 204
    for response in (api.delete(here), *(api.get(address) for address in addresses)):
        assert "no explanation" in problem(response, ProblemKind.NOT_FOUND).detail
    assert ids(api) == []
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def test_inputs_of_an_analysis_are_not_deleted(api: httpx.Client, library: Library, queue: JobQueue) -> None:
    record = add_explanation(library)
    job = queue.enqueue(
        AnalysisJob(explanation_id=record.id, model_id=MODEL, dataset_id=DATASET, request=AbstractionsRequest())
    )
    assert job.id in problem(api.delete(f"/v1/explanations/{record.id}"), ProblemKind.RESOURCE_IN_USE).detail
    links = api.get(f"/v1/jobs/{job.id}").json()["links"]
    assert links["explanation"] == f"/v1/explanations/{record.id}"
    api.post(f"/v1/jobs/{job.id}/cancel")
    assert api.delete(f"/v1/explanations/{record.id}").status_code == 204


def test_list_and_filters(api: httpx.Client, library: Library) -> None:
    first = add_explanation(library, name="CamVid, last", model_id="mdl_1").id
    second = add_explanation(library, LAYERED_UNITS, settings={"dataset_id": "dts_2"}).id
    assert ids(api) == [second, first]
    assert ids(api, "model_id=mdl_1") == [first]
    assert ids(api, f"model_id={MODEL}") == [second]
    assert ids(api, "dataset_id=dts_2") == [second]
    assert ids(api, "dataset_id=dts_2&model_id=mdl_1") == []
    assert ids(api, "name=camvid") == [first]
    page = api.get("/v1/explanations?limit=1").json()
    assert ids(api, f"limit=1&cursor={page['next_cursor']}") == [first]
    (item,) = api.get("/v1/explanations?dataset_id=dts_2").json()["items"]
    assert (item["layers"], item["units"], item["links"]) == (
        list(LAYERS),
        3,
        {"self": f"/v1/explanations/{second}"},
    )
    assert item["mean_iou"] == pytest.approx(0.2)


def test_an_explanation_without_a_formula_has_no_mean(api: httpx.Client, library: Library) -> None:
    add_explanation(library, [unit(0), unit(1)])
    (item,) = api.get("/v1/explanations").json()["items"]
    assert (item["units"], item["mean_iou"]) == (2, None)


def test_units_are_listed_by_layer_and_unit(api: httpx.Client, library: Library) -> None:
    page = api.get(f"/v1/explanations/{add_explanation(library, LAYERED_UNITS).id}/units").json()
    assert [(item["layer"], item["unit"]) for item in page["items"]] == [("early", 1), ("early", 5), (LAYERS[1], 1)]
    assert (page["total"], page["next_cursor"]) == (3, None)
    one = LAYERED_UNITS[1]
    shown = {name: value for name, value in one.model_dump(mode="json").items() if name in page["items"][0]}
    assert page["items"][0] == shown
    assert "tree" not in shown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2, 3]),
        ("concept=car", [0, 3]),
        ("concept=CAR&min_score=0.21", []),
        ("concept=road", [0]),
        ("concept=ar", []),
        ("formula=AR", [0, 3]),
        ("formula=ar+or", [0]),
        ("min_score=0.2", [0, 1, 3]),
        ("min_score=0.5", [1]),
        ("layer=relu", [0, 1, 2, 3]),
        ("sort=score", [0, 3, 1, 2]),
        ("sort=-score", [1, 0, 3, 2]),
        ("sort=ceiling", [1, 0, 3, 2]),
        ("sort=-ceiling", [3, 0, 1, 2]),
        ("sort=concept_score", [0, 3, 1, 2]),
        ("sort=gain", [3, 0, 1, 2]),
        ("sort=-gain", [1, 0, 3, 2]),
        ("sort=length", [1, 3, 0, 2]),
        ("sort=-length", [0, 1, 3, 2]),
        ("sort=firings", [1, 0, 2, 3]),
        ("sort=-firings", [0, 2, 3, 1]),
        ("sort=unit", [0, 1, 2, 3]),
        ("sort=-unit", [3, 2, 1, 0]),
        ("sort=-score&concept=car", [0, 3]),
    ],
)
def test_filters_and_orders(api: httpx.Client, library: Library, query: str, expected: list[int]) -> None:
    here = f"/v1/explanations/{add_explanation(library).id}/units?{query}"
    page = api.get(here).json()
    assert units(page["items"]) == expected
    assert page["total"] == len(expected)
    assert units(walk(api, here, 1)) == expected
    assert units(walk(api, here, 3)) == expected


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("sort=iou", "sort", "score, ceiling, concept_score, gain, length, firings, unit"),
        ("sort=--score", "sort", "must be one of"),
        ("sort=", "sort", "must be one of"),
        ("min_score=2", "min_score", "less than or equal to 1"),
        ("min_score=nan", "min_score", "less than or equal to 1"),
        ("concept=", "concept", "at least 1 character"),
        ("layer=late", "layer", "does not explain a layer 'late', but 'relu'"),
        ("limit=0", "limit", "greater than or equal to 1"),
        ("units=3", "units", "no field or parameter"),
        ("cursor=x", "cursor", "belongs to another list"),
    ],
)
def test_invalid_filters_of_units(api: httpx.Client, library: Library, query: str, field: str, words: str) -> None:
    document = problem(
        api.get(f"/v1/explanations/{add_explanation(library).id}/units?{query}"), ProblemKind.INVALID_REQUEST
    )
    assert [error.field for error in document.errors] == [field]
    assert words in document.detail


def test_cursors_are_valid_for_their_list_only(api: httpx.Client, library: Library) -> None:
    one, other = (f"/v1/explanations/{add_explanation(library).id}/units" for _ in range(2))
    cursor = api.get(f"{one}?sort=score&limit=1").json()["next_cursor"]
    assert units(api.get(f"{one}?sort=score&limit=1&cursor={cursor}").json()["items"]) == [3]
    for address in (
        f"{one}?sort=-score",
        f"{one}?sort=score&concept=car",
        f"{one}?sort=score&min_score=0.1",
        f"{other}?sort=score",
        f"/v1/models/{add_model(api)['id']}/units?limit=1",
    ):
        document = problem(api.get(f"{address}&cursor={cursor}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == ["cursor"]


def test_one_unit(api: httpx.Client, library: Library) -> None:
    record = add_explanation(library)
    here = f"/v1/explanations/{record.id}"
    resource = api.get(f"{here}/units/0").json()
    assert resource.pop("links") == {
        "self": f"{here}/units/0",
        "image": f"{here}/units/0/image",
        "explanation": here,
        "model": f"/v1/models/{MODEL}",
    }
    assert Unit.model_validate_json(json.dumps(resource)) == UNITS[0]
    text = add_explanation(library, about="text")
    assert "image" not in api.get(f"/v1/explanations/{text.id}/units/1").json()["links"]


def test_unknown_units(api: httpx.Client, library: Library) -> None:
    here = f"/v1/explanations/{add_explanation(library).id}/units"
    beyond = problem(api.get(f"{here}/8"), ProblemKind.NOT_FOUND)
    assert beyond.detail == "'relu' has 8 units, 0 to 7: there is no unit 8."
    left_out = problem(api.get(f"{here}/7"), ProblemKind.NOT_FOUND)
    assert "explains 4 of the 8 units of 'relu'; unit 7 is not one of them" in left_out.detail
    for bad in ("-1", "x", "1.5"):
        document = problem(api.get(f"{here}/{bad}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == ["unit"]


@pytest.mark.parametrize("end", ["", "/image"])
def test_a_unit_of_several_layers_needs_its_layer(api: httpx.Client, library: Library, end: str) -> None:
    here = f"/v1/explanations/{add_explanation(library, LAYERED_UNITS).id}/units/1{end}"
    for query in ("", "?layer=relu"):
        document = problem(api.get(here + query), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == ["layer"]
        assert "'early', 'late/relu:0'" in document.detail


def test_units_of_several_layers(api: httpx.Client, library: Library) -> None:
    here = f"/v1/explanations/{add_explanation(library, LAYERED_UNITS).id}/units"
    for one in LAYERED_UNITS:
        resource = api.get(f"{here}/{one.unit}", params={"layer": one.layer}).json()
        assert (resource["layer"], resource["unit"], resource["formula"]) == (one.layer, one.unit, one.formula)
        assert api.get(resource["links"]["self"]).json() == resource
    assert units(api.get(here, params={"layer": LAYERS[1]}).json()["items"]) == [1]
    missing = problem(api.get(f"{here}/5", params={"layer": LAYERS[1]}), ProblemKind.NOT_FOUND)
    assert "explains 1 of the 8 units of 'late/relu:0'" in missing.detail


@pytest.fixture
def model(api: httpx.Client) -> str:
    id: str = add_model(api)["id"]
    return id


def test_units_of_a_model_over_all_its_explanations(api: httpx.Client, library: Library, model: str) -> None:
    here = f"/v1/models/{model}/units"
    first = add_explanation(library, model_id=model)
    add_explanation(library)
    second = add_explanation(library, LAYERED_UNITS, model_id=model, settings={"dataset_id": "dts_2"})

    def listed_units(query: str) -> list[tuple[str, int]]:
        return [(item["explanation_id"], item["unit"]) for item in walk(api, f"{here}?{query}")]

    assert listed_units("") == [(second.id, unit) for unit in (1, 1, 5)] + [(first.id, unit) for unit in (1, 0, 3, 2)]
    assert listed_units("concept=car") == [(second.id, 1), (first.id, 0), (first.id, 3)]
    assert listed_units("concept=car&min_score=0.25") == [(second.id, 1)]
    assert listed_units("layer=relu&min_score=0.3") == [(first.id, 1)]
    assert listed_units("layer=none") == []
    (item,) = api.get(f"{here}?concept=sky").json()["items"]
    assert (item["dataset_id"], item["formula"], item["layer"]) == ("dts_2", "sky", "early")
    assert api.get(f"{here}?limit=7").json()["next_cursor"] is None


def test_pages_of_a_models_units_stay_put(api: httpx.Client, library: Library, model: str) -> None:
    here = f"/v1/models/{model}/units?limit=2"
    oldest, middle, newest = (add_explanation(library, model_id=model) for _ in range(3))
    first = api.get(here).json()
    assert {item["explanation_id"] for item in first["items"]} == {newest.id}
    add_explanation(library, model_id=model)
    second = api.get(f"{here}&cursor={first['next_cursor']}").json()
    assert [(item["explanation_id"], item["unit"]) for item in second["items"]] == [(newest.id, 3), (newest.id, 2)]
    third = api.get(f"{here}&cursor={second['next_cursor']}").json()
    assert {item["explanation_id"] for item in third["items"]} == {middle.id}
    api.delete(f"/v1/explanations/{middle.id}")
    fourth = api.get(f"{here}&cursor={third['next_cursor']}").json()
    assert [(item["explanation_id"], item["unit"]) for item in fourth["items"]] == [(oldest.id, 1), (oldest.id, 0)]


def test_an_explanation_deleted_while_listing_units_is_skipped(
    api: httpx.Client, library: Library, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add_explanation(library, model_id=model)
    gone = add_explanation(library, LAYERED_UNITS, model_id=model)
    read = UnitReader.read

    def deleting(files: UnitReader, explanation: Explanation) -> list[Unit]:
        if explanation.id == gone.id:
            library.delete(library.explanations, gone.id)
        return read(files, explanation)

    monkeypatch.setattr(UnitReader, "read", deleting)
    items = api.get(f"/v1/models/{model}/units").json()["items"]
    assert {item["explanation_id"] for item in items} == {kept.id}


def test_units_of_an_unknown_model(api: httpx.Client, library: Library, model: str) -> None:
    add_explanation(library)
    problem(api.get(f"/v1/models/{MODEL}/units"), ProblemKind.NOT_FOUND)
    for query, field in (("sort=-score", "sort"), ("cursor=x", "cursor"), ("min_score=-1", "min_score")):
        document = problem(api.get(f"/v1/models/{model}/units?{query}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == [field]


def test_a_missing_file(api: httpx.Client, library: Library, model: str) -> None:
    record = add_explanation(library, model_id=model)
    library.blobs.delete(record.sha256)
    for address in (f"/v1/explanations/{record.id}/units", f"/v1/models/{model}/units"):
        problem(api.get(address), ProblemKind.BLOB_MISSING)


def test_cached_unit_files_are_bounded(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    record = [add_explanation(library, [unit(number, "car")]) for number in range(3)]
    read: list[str] = []

    def reading(path: Any) -> list[Unit]:
        read.append(path.name)
        return []

    monkeypatch.setattr("app.services.explanations.units.read_units", reading)
    most = record[0].bytes + record[1].bytes + record[2].bytes - 1
    monkeypatch.setattr("app.services.explanations.units.CACHE_BYTES", most)
    files = UnitReader(library.blobs)
    for number in (0, 1, 0, 2, 0, 1):
        files.read(record[number])
    assert [record[number].sha256 for number in (0, 1, 2, 1)] == read
    monkeypatch.setattr("app.services.explanations.units.CACHE_BYTES", record[0].bytes - 1)
    read.clear()
    files = UnitReader(library.blobs)
    for _ in range(2):
        files.read(record[0])
    assert len(read) == 2
