"""Analyses over HTTP once they are record: listed, looked at, downloaded, deleted."""

import httpx
import pytest

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.analysis_records import RESULTS, add_analysis
from tests.app.explanation_records import add_explanation
from tests.app.http.routes.test_explanation_results import walk
from tests.app.http.test_problems import problem
from tests.app.uploads import image

PLOT = image(seed=5)


def ids(api: httpx.Client, address: str) -> list[str]:
    return [item["id"] for item in api.get(address).json()["items"]]


@pytest.mark.parametrize("kind", RESULTS)
def test_get_and_links(api: httpx.Client, library: Library, kind: str) -> None:
    record = add_analysis(library, kind, "exp_1", files={"plot.png": PLOT}, warnings=["Few."])
    here = f"/v1/analyses/{record.id}"
    found = api.get(here).json()
    assert found.pop("links") == {
        "self": here,
        "content": f"{here}/content",
        "explanation": "/v1/explanations/exp_1",
        "plot.png": f"{here}/files/plot.png",
    }
    assert found == record.model_dump(mode="json", exclude={"links"})
    assert (found["settings"]["kind"], found["result"]["kind"]) == (kind, kind)


def test_an_explanation_links_to_its_analyses(api: httpx.Client, library: Library) -> None:
    explanation = add_explanation(library)
    address = api.get(f"/v1/explanations/{explanation.id}").json()["links"]["analyses"]
    assert api.get(address).json() == {"items": [], "next_cursor": None}
    record = add_analysis(library, explanation=explanation.id)
    assert ids(api, address) == [record.id]
    links = api.get(f"/v1/analyses/{record.id}").json()["links"]
    assert api.get(links["explanation"]).json()["id"] == explanation.id


def test_files_and_content(api: httpx.Client, library: Library) -> None:
    record = add_analysis(library, "interpretability", files={"interpretability.png": PLOT})
    here = f"/v1/analyses/{record.id}"
    content = record.result.model_dump_json(indent=1).encode()
    for address, expected, media_type, filename in (
        (f"{here}/content", content, "application/json", f"{record.id}.json"),
        (f"{here}/files/interpretability.png", PLOT, "image/png", f"{record.id}-interpretability.png"),
    ):
        response = api.get(address)
        assert response.content == expected
        assert response.headers["content-type"] == media_type
        assert f'filename="{filename}"' in response.headers["content-disposition"]
        assert api.get(address, headers={"If-None-Match": response.headers["etag"]}).status_code == 304
        assert api.get(address, headers={"Range": "bytes=0-3"}).content == expected[:4]
    assert "It has interpretability.png." in problem(api.get(f"{here}/files/x.png"), ProblemKind.NOT_FOUND).detail
    assert api.get(f"{here}/content").json() == api.get(here).json()["result"]


def test_list_and_filters(api: httpx.Client, library: Library) -> None:
    one, other = (add_explanation(library).id for _ in range(2))
    first = add_analysis(library, "drift", one, warnings=["Few."])
    second = add_analysis(library, "abstractions", one)
    third = add_analysis(library, "drift", other)
    of_one = f"/v1/explanations/{one}/analyses"
    assert ids(api, of_one) == [second.id, first.id]
    assert ids(api, f"{of_one}?kind=drift") == [first.id]
    assert ids(api, f"{of_one}?kind=copy_paste") == []
    assert [item["id"] for item in walk(api, of_one)] == [second.id, first.id]
    assert ids(api, "/v1/analyses") == [third.id, second.id, first.id]
    assert ids(api, "/v1/analyses?kind=drift") == [third.id, first.id]
    assert ids(api, f"/v1/analyses?explanation_id={one}&kind=drift") == [first.id]
    assert ids(api, "/v1/analyses?explanation_id=exp_none") == []
    assert [item["id"] for item in walk(api, "/v1/analyses?kind=drift")] == [third.id, first.id]
    (item,) = api.get(f"{of_one}?kind=drift").json()["items"]
    assert item == {
        "id": first.id,
        "explanation_id": one,
        "created_at": first.model_dump(mode="json")["created_at"],
        "kind": "drift",
        "warnings": ["Few."],
        "links": {"self": f"/v1/analyses/{first.id}"},
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [("kind=best", "kind"), ("limit=0", "limit"), ("cursor=x", "cursor"), ("kinds=drift", "kinds")],
)
def test_invalid_filters_of_analyses(api: httpx.Client, library: Library, query: str, field: str) -> None:
    for address in ("/v1/analyses", f"/v1/explanations/{add_explanation(library).id}/analyses"):
        document = problem(api.get(f"{address}?{query}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == [field]


def test_analyses_stay_when_their_explanation_is_deleted(api: httpx.Client, library: Library) -> None:
    explanation = add_explanation(library).id
    record = add_analysis(library, "drift", explanation)
    assert api.delete(f"/v1/explanations/{explanation}").status_code == 204
    found = api.get(f"/v1/analyses/{record.id}").json()
    assert (found["explanation_id"], found["result"]["models"][0]["model_id"]) == (explanation, "mdl_other")
    assert api.get(found["links"]["content"]).json() == found["result"]
    assert ids(api, f"/v1/analyses?explanation_id={explanation}") == [record.id]
    problem(api.get(found["links"]["explanation"]), ProblemKind.NOT_FOUND)
    problem(api.get(f"/v1/explanations/{explanation}/analyses"), ProblemKind.NOT_FOUND)


def test_delete(api: httpx.Client, library: Library, settings: Settings) -> None:
    record = add_analysis(library, files={"plot.png": PLOT})
    here = f"/v1/analyses/{record.id}"
    assert api.delete(here).status_code == 204
    for response in (api.delete(here), *(api.get(here + end) for end in ("", "/content", "/files/plot.png"))):
        assert "no analysis" in problem(response, ProblemKind.NOT_FOUND).detail
    assert ids(api, "/v1/analyses") == []
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def test_a_missing_file(api: httpx.Client, library: Library, queue: JobQueue) -> None:
    record = add_analysis(library)
    library.blobs.delete(record.sha256)
    problem(api.get(f"/v1/analyses/{record.id}/content"), ProblemKind.BLOB_MISSING)
