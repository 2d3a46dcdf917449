"""What every contract shares: strict fields, opaque ids, UTC times, pages."""

import hashlib
import secrets
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
_JOINERS = {0x200C: None, 0x200D: None}  # invisible, but Persian, Hindi and many emoji are not written without them


class Contract(BaseModel):
    """A frozen model that refuses fields it does not know, so that a typo is an error and not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def new_id(prefix: str) -> str:
    """Return a fresh opaque id such as ``mdl_4x8…``: ``prefix`` and 100 random bits."""
    return f"{prefix}_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def derived_id(prefix: str, *said: str) -> str:
    """Return the id of what follows from some texts, the same each time: ``prefix`` and 100 bits of their SHA-256."""
    number = int.from_bytes(hashlib.sha256("\n".join(said).encode()).digest(), "big")
    letters = []
    for _ in range(_ID_LENGTH):
        number, place = divmod(number, len(_ID_ALPHABET))
        letters.append(_ID_ALPHABET[place])
    return f"{prefix}_" + "".join(letters)


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def check_name(text: str) -> str:
    """Return a name a user gave, without the blanks around it.

    Raises:
        ValueError: If it is empty, longer than 200 characters or holds what cannot be seen, such as line breaks.
    """
    name = text.strip()
    if not 1 <= len(name) <= _NAME_LENGTH or not name.translate(_JOINERS).isprintable():
        raise ValueError("must be 1 to 200 printable characters")
    return name


def in_one_sentence(sentence: str) -> WrapValidator:
    """Return what says so of a value that fits none of its forms, where each of them would say so of itself."""

    def check(value: Any, forms: ValidatorFunctionWrapHandler) -> Any:
        try:
            return forms(value)
        except ValidationError as error:
            raise ValueError(sentence) from error

    return WrapValidator(check)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_in_utc), Field(examples=["2026-11-25T09:30:00Z"])]
"""An RFC 3339 time in UTC."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=["9f86d081884c7d65" * 4])]
"""A blob's name: the SHA-256 of its bytes, in hexadecimal."""


class StoredFile(Contract):
    """A file that belongs to a record."""

    sha256: Sha256
    """SHA-256 of its content."""
    bytes: int = Field(examples=[48213])
    """Its size."""
    media_type: str = Field(examples=["image/png"])
    """What it is."""


Item = TypeVar("Item")


class Page(Contract, Generic[Item]):
    """One page of a list, newest first."""

    items: list[Item]
    """The records of this page."""
    next_cursor: str | None = Field(default=None, examples=["MTc2NDA2MzAwMDAwMDptZGxf"])
    """Pass it as `cursor` for the next page; null on the last one."""


class Provenance(Contract):
    """All that is needed to make a result again."""

    inputs: dict[str, Sha256] = Field(default_factory=dict)
    """SHA-256 of every file the result was made from, by role (`model`, `calibration_dataset`, …)."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"method": "aciq", "weight_bits": 4}])
    """The request as it was carried out, defaults filled in."""
    seed: int | None = Field(default=None, examples=[0])
    """The random seed."""
    versions: dict[str, str] = Field(default_factory=dict, examples=[{"faceter": "0.1.0", "torch": "2.13.0"}])
    """Versions of Faceter and of the packages that did the work."""
    device: str = Field(default="cpu", examples=["cpu", "cuda: NVIDIA H100"])
    """What the work ran on."""
    host: str | None = Field(default=None, examples=["Intel Xeon, 2 cores"])
    """The processor's name and its number of cores."""
