"""Translation of images: responses and validation errors."""

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
from app.services.translators.translation import _EncodedTranslation, _to_zip
from faceter.contracts.errors import ProblemKind
from faceter.contracts.translation_methods import Direction
from faceter.store.library import Library
from tests.app.conftest import StartServer
from tests.app.http.test_problems import problem
from tests.app.translator_fixtures import TranslatorFixtures, pixels
from tests.app.uploads import image

SIZE = (50, 41)


@pytest.fixture
def translators(api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> TranslatorFixtures:
    return TranslatorFixtures(api, library, redis, queue)


@pytest.fixture
def both(translators: TranslatorFixtures) -> str:
    """Address of a translator that inverts colours from A to B, and halves them from B to A."""
    return f"/v1/translators/{translators.add_uploaded(a2b_id='@negative', b2a_id='@halver')}/translate"


@pytest.fixture
def back(translators: TranslatorFixtures) -> str:
    """Address of a translator with direction b2a only."""
    return f"/v1/translators/{translators.add_uploaded(b2a_id='@halver')}/translate"


def sent(api: httpx.Client, address: str, content: bytes, accept: str = "", **query: Any) -> httpx.Response:
    """Send an image as a form's file."""
    headers = {"Accept": accept} if accept else {}
    return api.post(address, params=query or None, files={"file": ("p.png", content)}, headers=headers)


def translated(response: httpx.Response) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert response.status_code == 200, response.text
    return pixels(response.content)


def half(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the expected output of the halver: half the distance from the middle."""
    return np.rint(63.75 + values / 2.0)


def test_an_image_is_translated_at_its_size(api: httpx.Client, translators: TranslatorFixtures, both: str) -> None:
    content = image(1, SIZE)
    response = sent(api, both, content, direction="a2b")
    np.testing.assert_array_equal(translated(response), 255 - pixels(content))
    assert response.headers["content-type"] == "image/png"
    assert response.headers["faceter-model"] == translators.id("negative")
    assert response.headers["faceter-direction"] == "a2b"
    assert response.headers["faceter-tiles"] == "1"
    assert "faceter-warnings" not in response.headers
    timings = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert list(timings) == ["read", "translate", "write"]
    assert min(map(float, timings.values())) >= 0
    other = sent(api, both, content, direction="b2a")
    assert np.abs(translated(other) - half(pixels(content))).max() <= 1
    assert other.headers["faceter-model"] == translators.id("halver")


def test_the_direction_is_optional(api: httpx.Client, both: str, back: str) -> None:
    assert sent(api, both, image()).headers["faceter-direction"] == "a2b"
    assert sent(api, back, image()).headers["faceter-direction"] == "b2a"


def test_the_body_may_be_an_image(api: httpx.Client, both: str) -> None:
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
def test_the_requested_format(api: httpx.Client, both: str, accept: str, media_type: str, form: str) -> None:
    response = sent(api, both, image(1, SIZE), accept)
    assert response.headers["content-type"] == media_type
    with Image.open(io.BytesIO(response.content)) as opened:
        assert (opened.format, opened.size) == (form, SIZE)


@pytest.mark.parametrize("accept", ["image/jpeg", "image/webp"])
def test_higher_quality_gives_larger_files(api: httpx.Client, both: str, accept: str) -> None:
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
    assert laid.headers["faceter-warnings"]


def test_several_images_are_returned_in_a_zip(api: httpx.Client, both: str) -> None:
    contents = [image(seed, (20 + seed, 30)) for seed in range(4)]
    frames = [Image.fromarray(pixels(content)[:30, :20]) for content in contents]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    names = ["a.png", "b/a.jpg", "b\\a.png", "..png"]
    files = [("file", (name, content)) for name, content in zip(names, contents, strict=True)]
    response = api.post(both, files=[*files, ("file", ("g.gif", moving.getvalue()))])
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as record:
        found = record.namelist()
        assert (found[0], found[4]) == ("a.png", "g.png")
        assert len(set(found)) == 5
        assert not any("/" in name or "\\" in name or name.startswith(".") for name in found)
        for name, content in zip(found, contents, strict=False):
            np.testing.assert_array_equal(pixels(record.read(name)), 255 - pixels(content))
    assert response.headers["faceter-tiles"] == "5"
    assert response.headers["faceter-warnings"] == "5: first of 4 frames"


def test_names_in_a_zip_are_unique() -> None:
    names = ["3-a.png", "a.png", "a.png", "a.png"]
    content = _to_zip([_EncodedTranslation(name, name.encode(), 1, ()) for name in names])
    with zipfile.ZipFile(io.BytesIO(content)) as record:
        assert record.namelist()[:2] == ["3-a.png", "a.png"]
        assert len(set(record.namelist())) == 4


def test_cycle_returns_image_translation_and_back_translation(
    api: httpx.Client, translators: TranslatorFixtures, both: str
) -> None:
    content = image(1, SIZE)
    response = sent(api, both, content, cycle=True)
    found, width = translated(response), SIZE[0]
    assert found.shape == (SIZE[1], 3 * width, 3)
    given = pixels(content)
    np.testing.assert_array_equal(found[:, :width], given)
    np.testing.assert_array_equal(found[:, width : 2 * width], 255 - given)
    assert np.abs(found[:, 2 * width :] - half(255.0 - given)).max() <= 1
    assert response.headers["faceter-model"] == f"{translators.id('negative')}, {translators.id('halver')}"
    assert response.headers["faceter-tiles"] == "2"


def test_tiles_and_a_working_size(api: httpx.Client, both: str) -> None:
    content = image(1, (150, 70))
    whole = sent(api, both, content, tile="never")
    tiled = sent(api, both, content, tile=32)
    np.testing.assert_array_equal(translated(tiled), translated(whole))
    assert (whole.headers["faceter-tiles"], int(tiled.headers["faceter-tiles"]) > 4) == ("1", True)
    small = sent(api, both, content, scale=30)
    assert translated(small).shape == (70, 150, 3)
    assert small.headers["faceter-warnings"] == "translated at 30 x 14 and scaled back"


def test_nothing_is_left_between_requests(api: httpx.Client, translators: TranslatorFixtures, both: str) -> None:
    sent(api, both, image(1, (150, 70)), tile=32)
    assert list((Path(translators.library.blobs.path(_sha(translators))).parents[2] / "scratch").glob("*")) == []


def _sha(translators: TranslatorFixtures) -> str:
    return translators.library.models.get(translators.id("negative")).sha256


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("direction=b2a", "direction", "has a2b, but not b2a"),
        ("direction=up", "direction", "'a2b' or 'b2a'"),
        ("cycle=true", "cycle", "has a2b, but not b2a"),
        ("cycle=perhaps", "cycle", "true or false"),
        ("tile=31", "tile", "at least 32 pixels, not 31"),
        ("tile=some", "tile", "a whole number of pixels, or `never`"),
        ("tile=1.5", "tile", "a whole number of pixels"),
        ("quality=0", "quality", "greater than or equal to 1"),
        ("quality=101", "quality", "less than or equal to 100"),
        ("scale=7", "scale", "greater than or equal to 8"),
        ("checkpoint=first", "checkpoint", "'latest'"),
        ("size=3", "size", "no field or parameter"),
    ],
)
def test_invalid_options(
    api: httpx.Client, translators: TranslatorFixtures, query: str, field: str, words: str
) -> None:
    address = f"/v1/translators/{translators.add_uploaded()}/translate?{query}"
    document = problem(sent(api, address, image()), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == [field]
    assert words in document.detail


def huge() -> bytes:
    """Return a small PNG file whose header declares 20,000 × 20,000 pixels."""
    content = image()
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


BAD_FILES = [
    (b"", ProblemKind.INVALID_IMAGE, "is an empty file"),
    (b"%PDF-1.7", ProblemKind.INVALID_IMAGE, "'p.png'"),
    (image()[:100], ProblemKind.INVALID_IMAGE, "broken or cut off"),
    (huge(), ProblemKind.IMAGE_TOO_LARGE, "20000 × 20000 pixels; this server accepts up to 100,000,000"),
]


@pytest.mark.parametrize(("content", "kind", "words"), BAD_FILES)
def test_files_that_are_not_images(api: httpx.Client, both: str, content: bytes, kind: ProblemKind, words: str) -> None:
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
def test_an_unsupported_format(api: httpx.Client, both: str, accept: str) -> None:
    document = problem(sent(api, both, image(), accept), ProblemKind.NOT_ACCEPTABLE)
    assert "image/png, image/jpeg, image/webp" in document.detail


def test_a_translator_that_is_not_there(api: httpx.Client) -> None:
    for id in ("trl_none", "mdl_none", "trl_"):
        address = f"/v1/translators/{id}/translate"
        assert id in problem(sent(api, address, image()), ProblemKind.NOT_FOUND).detail


def test_a_generator_that_was_deleted_since(api: httpx.Client, translators: TranslatorFixtures, both: str) -> None:
    sent(api, both, image())
    id = translators.id("negative")
    assert api.delete(f"/v1/models/{id}").status_code == 204
    document = problem(sent(api, both, image(), direction="a2b"), ProblemKind.NOT_FOUND)
    assert id in document.detail
    assert "/content" not in document.detail
    problem(sent(api, both, image(), direction="b2a", cycle=True), ProblemKind.NOT_FOUND)
    assert sent(api, both, image(), direction="b2a").status_code == 200
    record = translators.add_trained()
    api.delete(f"/v1/models/{record.model_ids[Direction.B2A]}")
    address = f"/v1/translators/{record.id}/translate"
    document = problem(sent(api, address, image(), direction="b2a"), ProblemKind.NOT_FOUND)
    assert "(its `content`) still has it, as b2a.onnx." in document.detail
    with zipfile.ZipFile(io.BytesIO(api.get(f"/v1/translators/{record.id}/content").content)) as archive:
        assert archive.read("b2a.onnx")


def test_a_translation_that_takes_too_long_is_stopped(
    translators: TranslatorFixtures, both: str, start_server: StartServer
) -> None:
    hasty = start_server(translators.queue._settings.model_copy(update={"translation_seconds": 1e-6}))
    problem(sent(hasty, both, image(1, (1500, 1500))), ProblemKind.INFERENCE_FAILED)


def test_a_generator_exported_at_one_size_translates_at_the_images_own(translators: TranslatorFixtures) -> None:
    here = f"/v1/translators/{translators.add_uploaded(a2b_id='@fixed', b2a_id='@positioned')}/translate"
    opened = translators.api.post(here, files={"file": image(3, (90, 70))}, params={"direction": "a2b"})
    assert opened.status_code == 200, opened.text
    assert "resized" not in opened.headers.get("faceter-warnings", "")
    fixed = translators.api.post(here, files={"file": image(3, (90, 70))}, params={"direction": "b2a"})
    assert "resized to the generator's 64 x 48 and back" in fixed.headers["faceter-warnings"]
    assert pixels(opened.content).shape == pixels(fixed.content).shape == (70, 90, 3)
