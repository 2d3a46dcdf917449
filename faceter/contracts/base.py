"""Base of all contracts: strict fields, opaque ids, UTC times, pages."""

import hashlib
import secrets
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 20
_NAME_LENGTH = 200
_JOINERS = {0x200C: None, 0x200D: None}  # invisible, but needed in Persian, Hindi and many emoji


class Contract(BaseModel):
    """A frozen model that rejects unknown fields, so that a misspelled name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def new_id(prefix: str) -> str:
    """Return a random opaque id such as ``mdl_4x8…``: ``prefix`` and 100 random bits."""
    return f"{prefix}_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def derived_id(prefix: str, *texts: str) -> str:
    """Return a deterministic opaque id: ``prefix`` and 100 bits of the SHA-256 of the texts."""
    number = int.from_bytes(hashlib.sha256("\n".join(texts).encode()).digest(), "big")
    letters = []
    for _ in range(_ID_LENGTH):
        number, place = divmod(number, len(_ID_ALPHABET))
        letters.append(_ID_ALPHABET[place])
    return f"{prefix}_" + "".join(letters)


def utc_now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)


def check_name(text: str) -> str:
    """Return a name given by a user, without leading and trailing white space.

    Raises:
        ValueError: If it is empty, longer than 200 characters or contains unprintable characters, such as line breaks.
    """
    name = text.strip()
    if not 1 <= len(name) <= _NAME_LENGTH or not name.translate(_JOINERS).isprintable():
        raise ValueError("must be 1 to 200 printable characters")
    return name


def composed(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), in which equal letters are equal; macOS decomposes file names."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def message_if_invalid(message: str) -> WrapValidator:
    """Return a validator that replaces the errors of all members of a union by one message."""

    def check(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            raise ValueError(message) from error

    return WrapValidator(check)


def name_contains(text: str | None, name: str) -> bool:
    """Return whether a name contains ``text``, ignoring case; None matches every name."""
    return text is None or composed(text).casefold() in composed(name).casefold()


ComposedText = Annotated[str, AfterValidator(composed)]
"""A text that is compared with names of files and classes."""


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_in_utc), Field(examples=["2026-11-25T09:30:00Z"])]
"""An RFC 3339 time in UTC."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=["9f86d081884c7d65" * 4])]
"""Name of a blob: the SHA-256 of its bytes, in lower-case hexadecimal."""


class StoredFile(Contract):
    """A file that belongs to a record."""

    sha256: Sha256
    """SHA-256 of the content."""
    bytes: int = Field(examples=[48213])
    """Size in bytes."""
    media_type: str = Field(examples=["image/png"])
    """Media type."""


Item = TypeVar("Item")


class Page(Contract, Generic[Item]):
    """One page of a list, newest first."""

    items: list[Item]
    """The records of this page."""
    next_cursor: str | None = Field(default=None, examples=["MTc2NDA2MzAwMDAwMDptZGxf"])
    """Pass it as `cursor` to get the next page; null on the last page."""


class Provenance(Contract):
    """Everything needed to reproduce a result."""

    inputs: dict[str, Sha256] = Field(default_factory=dict)
    """SHA-256 of every input file, by role (`model`, `calibration_dataset`, …)."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"method": "aciq", "weight_bits": 4}])
    """Settings of the request, including defaults."""
    seed: int | None = Field(default=None, examples=[0])
    """Random seed."""
    versions: dict[str, str] = Field(default_factory=dict, examples=[{"faceter": "0.1.0", "torch": "2.13.0"}])
    """Versions of Faceter and of the packages used."""
    device: str = Field(default="cpu", examples=["cpu", "cuda: NVIDIA H100"])
    """Device on which the job ran."""
    host: str | None = Field(default=None, examples=["Intel Xeon, 2 cores"])
    """Name of the processor and number of cores."""


class StoredRecord(Contract):
    """Base of the records of all resources: an id, one main file and optional further files."""

    id: str
    """Opaque id."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of the main file; equal files are stored once."""
    bytes: int
    """Size of the main file in bytes."""
    provenance: Provenance | None = None
    """For resources made by a job: everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files by name; download one from `…/files/{name}`."""
    links: dict[str, str] = Field(default_factory=dict)
    """URLs to GET."""
