import hashlib

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset, add_model, images
from tests.engines import graphs

CONTENT = graphs.classifier()
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture
def address(api: httpx.Client) -> str:
    return f"/v1/models/{add_model(api, CONTENT, name='naïve net')['id']}/content"


def test_whole(api: httpx.Client, address: str) -> None:
    response = api.get(address)
    assert response.status_code == 200
    assert response.content == CONTENT
    assert response.headers["etag"] == ETAG
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-length"] == str(len(CONTENT))
    disposition = response.headers["content-disposition"]
    assert disposition == "attachment; filename=\"na_ve net.onnx\"; filename*=UTF-8''na%C3%AFve%20net.onnx"


def test_head_has_the_same_headers_without_the_file(api: httpx.Client, address: str) -> None:
    head, get = api.head(address), api.get(address)
    assert head.content == b""
    for name in ("etag", "content-length", "content-disposition", "content-type"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("given", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
def test_if_none_match(api: httpx.Client, address: str, given: str) -> None:
    response = api.get(address, headers={"If-None-Match": given})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", ETAG)


def test_if_none_match_of_another_file(api: httpx.Client, address: str) -> None:
    assert api.get(address, headers={"If-None-Match": '"other"'}).content == CONTENT


LAST = len(CONTENT) - 1


@pytest.mark.parametrize(
    ("range_header", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, LAST),
        ("bytes=-5", LAST - 4, LAST),
        (f"bytes=-{10**6}", 0, LAST),
        (f"bytes=5-{10**6}", 5, LAST),
        (f"bytes={LAST}-{LAST}", LAST, LAST),
    ],
)
def test_ranges(api: httpx.Client, address: str, range_header: str, first: int, last: int) -> None:
    response = api.get(address, headers={"Range": range_header})
    assert response.status_code == 206
    assert response.content == CONTENT[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize("range_header", [f"bytes={len(CONTENT)}-", "bytes=-0", f"bytes={10**17}-"])
def test_ranges_outside_the_file(api: httpx.Client, address: str, range_header: str) -> None:
    response = api.get(address, headers={"Range": range_header})
    problem(response, ProblemKind.RANGE_NOT_SATISFIABLE)
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "range_header", ["bytes=9-0", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "bytes=" + "9" * 5000 + "-"]
)
def test_invalid_ranges_get_the_whole_file(api: httpx.Client, address: str, range_header: str) -> None:
    response = api.get(address, headers={"Range": range_header})
    assert (response.status_code, response.content) == (200, CONTENT)


def test_if_range(api: httpx.Client, address: str) -> None:
    same = api.get(address, headers={"Range": "bytes=0-3", "If-Range": ETAG})
    other = api.get(address, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    dated = api.get(address, headers={"Range": "bytes=0-3", "If-Range": "Wed, 25 Nov 2026 09:30:00 GMT"})
    assert [same.status_code, other.status_code, dated.status_code] == [206, 200, 200]


def test_ranges_concatenate_to_the_file(api: httpx.Client, address: str) -> None:
    parts = [
        api.get(address, headers={"Range": f"bytes={start}-{start + 99}"}).content
        for start in range(0, len(CONTENT), 100)
    ]
    assert b"".join(parts) == CONTENT


def test_a_dataset_is_downloaded_unchanged(api: httpx.Client) -> None:
    content = images(["cat"])
    dataset = add_dataset(api, content)
    response = api.get(f"/v1/datasets/{dataset['id']}/content")
    assert response.content == content
    assert response.headers["etag"] == f'"{dataset["sha256"]}"'
    assert api.head(f"/v1/datasets/{dataset['id']}/content").status_code == 200
