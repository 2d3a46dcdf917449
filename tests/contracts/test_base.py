"""Names, ids, times and pages of all contracts."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from pydantic import ValidationError

from faceter.contracts.analyses import CopyPasteRequest
from faceter.contracts.base import (
    Contract,
    Page,
    StoredFile,
    Timestamp,
    check_name,
    composed,
    derived_id,
    name_contains,
    new_id,
    utc_now,
)
from faceter.contracts.models import ModelMetadata


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        "a",
        "x" * 200,
        "猫",
        "\N{CAT FACE}\N{ZERO WIDTH JOINER}\N{BLACK LARGE SQUARE}",
        "क्\u200dष",
        "a b/c:d",
    ],
)
def test_names_of_every_script_are_kept(name: str) -> None:
    assert check_name(f" {name}\n") == name


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\0b", "a\nb", "a\tb", "\u202egpj.exe", "\ud800"])
def test_unprintable_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        check_name(name)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_however_its_letters_are_encoded(form: Literal["NFC", "NFD"]) -> None:
    assert composed(unicodedata.normalize(form, "été café")) == "été café"
    assert name_contains(unicodedata.normalize(form, "CAFÉ"), "un café")
    assert name_contains("CAFÉ", unicodedata.normalize(form, "un café"))
    assert not name_contains("cafe", "un café")
    label = CopyPasteRequest(label=unicodedata.normalize(form, "café")).label
    assert ModelMetadata(labels=[unicodedata.normalize(form, "café")]).labels == [label] == ["café"]


def test_a_derived_id_is_deterministic_and_looks_like_any_other() -> None:
    derived = derived_id("dts", "one", "two")
    assert derived == derived_id("dts", "one", "two")
    assert re.fullmatch(r"dts_[0-9a-z]{20}", derived)
    assert len(derived) == len(new_id("dts"))
    assert len({derived, derived_id("dts", "two", "one"), derived_id("dts", "onetwo"), derived_id("dts", "one")}) == 4


def test_ids_are_random_and_readable() -> None:
    ids = [new_id("mdl") for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(re.fullmatch("mdl_[0-9a-hjkmnp-tv-z]{20}", id) for id in ids), "no i, l, o or u, which are misread"


class Moment(Contract):
    """Has a time."""

    at: Timestamp
    """The time."""


@pytest.mark.parametrize("text", ["2026-11-25T09:30:00Z", "2026-11-25T10:30:00+01:00", "2026-11-25T09:30:00"])
def test_times_are_in_utc(text: str) -> None:
    """A time without a zone is taken for UTC."""
    moment = Moment.model_validate({"at": text})
    assert moment.at == datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
    assert moment.model_dump_json() == '{"at":"2026-11-25T09:30:00Z"}'


def test_now_is_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("sha256", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"])
def test_names_of_blobs_are_sha_256_in_lower_case(sha256: str) -> None:
    fields = {"bytes": 1, "media_type": "image/png"}
    assert StoredFile.model_validate({**fields, "sha256": "a" * 64}).sha256 == "a" * 64
    with pytest.raises(ValidationError, match="pattern"):
        StoredFile.model_validate({**fields, "sha256": sha256})


def test_a_page_checks_its_items() -> None:
    item = {"at": "2026-11-25T09:30:00Z"}
    page = Page[Moment].model_validate({"items": [item, item], "next_cursor": "abc"})
    assert [type(moment) for moment in page.items] == [Moment, Moment]
    assert Page[Moment].model_validate_json(page.model_dump_json()) == page
    assert Page[Moment](items=[]).next_cursor is None
    with pytest.raises(ValidationError, match="Extra inputs"):
        Page[Moment].model_validate({"items": [{**item, "zone": "UTC"}]})
    with pytest.raises(ValidationError, match="Extra inputs"):
        Page[Moment].model_validate({"items": [], "total": 0})


def test_pages_of_different_records_have_different_schema_names() -> None:
    assert Page[Moment].__name__ != Page[StoredFile].__name__


def test_subclasses_keep_the_strictness() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Moment.model_validate({"at": "2026-11-25T09:30:00Z", "on": 1})
    with pytest.raises(ValidationError, match="frozen"):
        Moment(at=utc_now()).at = utc_now()  # type: ignore[misc]
