"""Translating images by the API: what comes back, and everything that is said to be wrong with a request."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from redis import Redis

from app.services.jobs.queue import JobQueue
from app.services.translators.translation import _Made, _zipped
from faceter.contracts.errors import ProblemKind
from faceter.contracts.translators import Direction
from faceter.store.library import Library
from tests.app.conftest import StartServer
from tests.app.http.test_problems import problem
from tests.app.translating import Workshop, pixels
from tests.app.uploads import image

SIZE = (50, 41)


@pytest.fixture
def workshop(api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> Workshop:
    return Workshop(api, library, redis, queue)


@pytest.fixture
def both(workshop: Workshop) -> str:
    """Address of a translator by which colours become their opposites, and half as strong on the way back."""
    return f"/v1/translators/{workshop.uploaded(a2b='@negative', b2a='@halver')}/translate"


@pytest.fixture
def back(workshop: Workshop) -> str:
    """Address of a translator that has the way from B to A alone."""
    return f"/v1/translators/{workshop.uploaded(b2a='@halver')}/translate"


def sent(api: httpx.Client, address: str, content: bytes, accept: str = "", **query: Any) -> httpx.Response:
    """Send an image as a form's file."""
    headers = {"Accept": accept} if accept else {}
    return api.post(address, params=query or None, files={"file": ("p.png", content)}, headers=headers)


def translated(response: httpx.Response) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert response.status_code == 200, response.text
    return pixels(response.content)


def half(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what the halver makes of values: each half as far from the middle."""
    return np.rint(63.75 + values / 2.0)


def test_a_image_comes_back_in_its_size_in_the_other_domain(api: httpx.Client, workshop: Workshop, both: str) -> None:
    content = image(1, SIZE)
    response = sent(api, both, content, direction="a2b")
    np.testing.assert_array_equal(translated(response), 255 - pixels(content))
    assert response.headers["content-type"] == "image/png"
    assert response.headers["faceter-model"] == workshop.id("negative")
    assert response.headers["faceter-direction"] == "a2b"
    assert response.headers["faceter-tiles"] == "1"
    assert "faceter-notes" not in response.headers
    told = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert list(told) == ["read", "translate", "write"]
    assert min(map(float, told.values())) >= 0
    other = sent(api, both, content, direction="b2a")
    assert np.abs(translated(other) - half(pixels(content))).max() <= 1
    assert other.headers["faceter-model"] == workshop.id("halver")


def test_the_direction_need_not_be_said(api: httpx.Client, both: str, back: str) -> None:
    assert sent(api, both, image()).headers["faceter-direction"] == "a2b"
    assert sent(api, back, image()).headers["faceter-direction"] == "b2a"


def test_the_body_may_be_the_image_itself(api: httpx.Client, both: str) -> None:
    content = image(1, SIZE)
    response = api.post(both, content=content, headers={"Content-Type": "image/png"})
    np.testing.assert_array_equal(translated(response), 255 - pixels(content))


@pytest.mark.parametrize(
    ("accept", "media_type", "form"),
    [
        ("", "image/png", "PNG"),
        ("*/*", "image/png", "PNG"),
        ("image/jpeg", "image/jpeg", "JPEG"),
        ("image/webp;q=0.9, image/png;q=0.2", "image/webp", "WEBP"),
    ],
)
def test_the_format_asked_for(api: httpx.Client, both: str, accept: str, media_type: str, form: str) -> None:
    response = sent(api, both, image(1, SIZE), accept)
    assert response.headers["content-type"] == media_type
    with Image.open(io.BytesIO(response.content)) as opened:
        assert (opened.format, opened.size) == (form, SIZE)


@pytest.mark.parametrize("accept", ["image/jpeg", "image/webp"])
def test_quality_costs_bytes(api: httpx.Client, both: str, accept: str) -> None:
    low, high = (len(sent(api, both, image(1, SIZE), accept, quality=quality).content) for quality in (5, 95))
    assert low < high / 2


def test_transparency_is_kept(api: httpx.Client, both: str) -> None:
    colour = pixels(image(1, SIZE))
    alpha = np.random.default_rng(0).integers(0, 256, colour.shape[:2], np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.dstack([colour, alpha])).save(file, "PNG")
    found = translated(sent(api, both, file.getvalue()))
    np.testing.assert_array_equal(found, np.dstack([255 - colour, alpha]))
    laid = sent(api, both, file.getvalue(), "image/jpeg")
    assert translated(laid).shape == colour.shape
    assert laid.headers["faceter-notes"]


def test_several_images_come_back_in_a_zip(api: httpx.Client, both: str) -> None:
    contents = [image(seed, (20 + seed, 30)) for seed in range(4)]
    frames = [Image.fromarray(pixels(content)[:30, :20]) for content in contents]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    names = ["a.png", "b/a.jpg", "b\\a.png", "..png"]
    files = [("file", (name, content)) for name, content in zip(names, contents, strict=True)]
    response = api.post(both, files=[*files, ("file", ("g.gif", moving.getvalue()))])
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as made:
        found = made.namelist()
        assert (found[0], found[4]) == ("a.png", "g.png")
        assert len(set(found)) == 5
        assert not any("/" in name or "\\" in name or name.startswith(".") for name in found)
        for name, content in zip(found, contents, strict=False):
            np.testing.assert_array_equal(pixels(made.read(name)), 255 - pixels(content))
    assert response.headers["faceter-tiles"] == "5"
    assert response.headers["faceter-notes"] == "5: first of 4 frames"


def test_names_in_a_zip_are_told_apart_whatever_they_are() -> None:
    names = ["3-a.png", "a.png", "a.png", "a.png"]
    content = _zipped([_Made(name, name.encode(), 1, ()) for name in names])
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        assert made.namelist()[:2] == ["3-a.png", "a.png"]
        assert len(set(made.namelist())) == 4


def test_there_and_back_side_by_side(api: httpx.Client, workshop: Workshop, both: str) -> None:
    content = image(1, SIZE)
    response = sent(api, both, content, cycle=True)
    found, width = translated(response), SIZE[0]
    assert found.shape == (SIZE[1], 3 * width, 3)
    given = pixels(content)
    np.testing.assert_array_equal(found[:, :width], given)
    np.testing.assert_array_equal(found[:, width : 2 * width], 255 - given)
    assert np.abs(found[:, 2 * width :] - half(255.0 - given)).max() <= 1
    assert response.headers["faceter-model"] == f"{workshop.id('negative')}, {workshop.id('halver')}"
    assert response.headers["faceter-tiles"] == "2"


def test_tiles_and_a_working_size(api: httpx.Client, both: str) -> None:
    content = image(1, (150, 70))
    whole = sent(api, both, content, tile="never")
    tiled = sent(api, both, content, tile=32)
    np.testing.assert_array_equal(translated(tiled), translated(whole))
    assert (whole.headers["faceter-tiles"], int(tiled.headers["faceter-tiles"]) > 4) == ("1", True)
    small = sent(api, both, content, scale=30)
    assert translated(small).shape == (70, 150, 3)
    assert small.headers["faceter-notes"] == "translated at 30 x 14 and scaled back"


def test_nothing_is_left_between_requests(api: httpx.Client, workshop: Workshop, both: str) -> None:
    sent(api, both, image(1, (150, 70)), tile=32)
    assert list((Path(workshop.library.blobs.path(_sha(workshop))).parents[2] / "scratch").glob("*")) == []


def _sha(workshop: Workshop) -> str:
    return workshop.library.models.get(workshop.id("negative")).sha256


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("direction=b2a", "direction", "has a2b, but not b2a"),
        ("direction=up", "direction", "'a2b' or 'b2a'"),
        ("cycle=true", "cycle", "has a2b, but not b2a"),
        ("cycle=perhaps", "cycle", "true or false"),
        ("tile=31", "tile", "at least 32 pixels a side, not 31"),
        ("tile=some", "tile", "a whole number of pixels, or `never`"),
        ("tile=1.5", "tile", "a whole number of pixels"),
        ("quality=0", "quality", "greater than or equal to 1"),
        ("quality=101", "quality", "less than or equal to 100"),
        ("scale=7", "scale", "greater than or equal to 8"),
        ("checkpoint=first", "checkpoint", "'latest'"),
        ("size=3", "size", "no field or parameter"),
    ],
)
def test_what_cannot_be_asked_for(api: httpx.Client, workshop: Workshop, query: str, field: str, words: str) -> None:
    address = f"/v1/translators/{workshop.uploaded()}/translate?{query}"
    document = problem(sent(api, address, image()), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == [field]
    assert words in document.detail


def huge() -> bytes:
    """Return a PNG file of a few bytes whose header says that it is 20,000 pixels wide and high."""
    content = image()
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


BAD_FILES = [
    (b"", ProblemKind.INVALID_IMAGE, "is an empty file"),
    (b"%PDF-1.7", ProblemKind.INVALID_IMAGE, "'p.png'"),
    (image()[:100], ProblemKind.INVALID_IMAGE, "broken or cut off"),
    (huge(), ProblemKind.IMAGE_TOO_LARGE, "20000 × 20000 pixels; this server takes up to 100,000,000"),
]


@pytest.mark.parametrize(("content", "kind", "words"), BAD_FILES)
def test_what_is_no_image(api: httpx.Client, both: str, content: bytes, kind: ProblemKind, words: str) -> None:
    document = problem(sent(api, both, content), kind)
    assert [error.field for error in document.errors] == ["file"]
    assert words in document.detail
    among = [("file", ("a.png", image())), ("file", ("p.png", content))]
    document = problem(api.post(both, files=among), kind)
    assert [error.field for error in document.errors] == ["file.1"]
    alone = api.post(both, content=content, headers={"Content-Type": "image/png"})
    assert words.replace("p.png", "the body") in problem(alone, kind).detail


def test_no_image_at_all(api: httpx.Client, both: str) -> None:
    empty = api.post(both, content=b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert [error.field for error in problem(empty, ProblemKind.INVALID_INPUT).errors] == ["file"]
    other = api.post(both, files={"image": ("p.png", image())})
    assert [error.field for error in problem(other, ProblemKind.INVALID_REQUEST).errors] == ["image"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "application/octet-stream", ""])
def test_a_body_of_another_type(api: httpx.Client, both: str, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    document = problem(api.post(both, content=image(), headers=headers), ProblemKind.UNSUPPORTED_MEDIA_TYPE)
    assert (media_type or "a body without a type") in document.detail


@pytest.mark.parametrize("accept", ["application/pdf", "image/gif", "image/png;q=0", "text/html, image/avif"])
def test_a_format_that_cannot_be_given(api: httpx.Client, both: str, accept: str) -> None:
    document = problem(sent(api, both, image(), accept), ProblemKind.NOT_ACCEPTABLE)
    assert "image/png, image/jpeg, image/webp" in document.detail


def test_a_translator_that_is_not_there(api: httpx.Client) -> None:
    for id in ("trl_none", "mdl_none", "trl_"):
        address = f"/v1/translators/{id}/translate"
        assert id in problem(sent(api, address, image()), ProblemKind.NOT_FOUND).detail


def test_a_generator_that_was_deleted_since(api: httpx.Client, workshop: Workshop, both: str) -> None:
    sent(api, both, image())
    id = workshop.id("negative")
    assert api.delete(f"/v1/models/{id}").status_code == 204
    document = problem(sent(api, both, image(), direction="a2b"), ProblemKind.NOT_FOUND)
    assert id in document.detail
    assert "/content" not in document.detail
    problem(sent(api, both, image(), direction="b2a", cycle=True), ProblemKind.NOT_FOUND)
    assert sent(api, both, image(), direction="b2a").status_code == 200
    made = workshop.trained()
    api.delete(f"/v1/models/{made.model_ids[Direction.B2A]}")
    address = f"/v1/translators/{made.id}/translate"
    document = problem(sent(api, address, image(), direction="b2a"), ProblemKind.NOT_FOUND)
    assert f"GET /v1/translators/{made.id}/content still has it, as b2a.onnx." in document.detail
    with zipfile.ZipFile(io.BytesIO(api.get(f"/v1/translators/{made.id}/content").content)) as archive:
        assert archive.read("b2a.onnx")


def test_a_translation_that_takes_too_long_is_stopped(workshop: Workshop, both: str, start_server: StartServer) -> None:
    hasty = start_server(workshop.queue._settings.model_copy(update={"translation_seconds": 1e-6}))
    problem(sent(hasty, both, image(1, (1500, 1500))), ProblemKind.INFERENCE_FAILED)
