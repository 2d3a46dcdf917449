"""Parsing of multipart forms, with specific errors."""

import errno
import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings

MEDIA_TYPE: Final = "multipart/form-data"

_MAX_FIELDS: Final = 20
_READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Form:
    """A parsed form: lists of files by name, and text fields."""

    files: dict[str, list[UploadFile]]
    fields: dict[str, str]

    def file(self, name: str) -> UploadFile:
        """Return the single file of a name.

        Raises:
            FaceterError: `INVALID_REQUEST` if there is none or more than one.
        """
        files = self.files.get(name, [])
        if len(files) != 1:
            count = "There is no file" if not files else f"There are {len(files)} files"
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"{count} in the form's part {name!r}; send exactly one (curl: -F {name}=@PATH).",
                field=name,
            )
        return files[0]


class _Parser(MultiPartParser):
    """Starlette's parser, extended to detect a truncated last part."""

    complete = False

    def on_end(self) -> None:
        """Record that the closing boundary was read."""
        self.complete = True
        super().on_end()

    def close_files(self) -> None:
        """Close the file of a truncated part, which is not in the form."""
        for file in self._files_to_close_on_error:
            file.close()


@asynccontextmanager
async def read_form(
    request: Request, settings: Settings, *, files: Collection[str], fields: Collection[str], max_files: int = 1
) -> AsyncIterator[Form]:
    """Parse a multipart body; large files are stored on disk and deleted after the block.

    A text field may also be sent as a file, as `curl -F metadata=@metadata.json` does.

    Args:
        request: Its body has not been read.
        settings: `max_json_bytes` limits each text field.
        files: Allowed names of files.
        fields: Allowed names of text fields.
        max_files: Maximum number of files.

    Raises:
        FaceterError: `UNSUPPORTED_MEDIA_TYPE`, `MALFORMED_BODY`, `INVALID_REQUEST` for an unknown or duplicate
            part, `STORAGE_FULL`.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != MEDIA_TYPE:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            f"The body must be a form with Content-Type: {MEDIA_TYPE} (curl: -F file=@PATH), "
            f"not {content_type or 'without a type'}.",
        )
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=max_files + len(fields),
        max_fields=_MAX_FIELDS,
        max_part_size=settings.max_json_bytes,
    )
    async with AsyncExitStack() as stack:
        try:
            data = await parser.parse()
        except MultiPartException as error:
            if error.message.startswith("Too many files"):
                raise FaceterError(
                    ProblemKind.INVALID_REQUEST, f"The form has more than {max_files} files.", field="file"
                ) from error
            raise FaceterError(
                ProblemKind.MALFORMED_BODY, f"The form cannot be read: {error.message.rstrip('.')}."
            ) from error
        except KeyError as error:
            raise FaceterError(
                ProblemKind.MALFORMED_BODY, "The form cannot be read: its Content-Type has no boundary."
            ) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise FaceterError(
                ProblemKind.STORAGE_FULL, "There is no room on the server's disk to receive this file."
            ) from error
        stack.push_async_callback(data.close)
        if not parser.complete:
            parser.close_files()
            raise FaceterError(
                ProblemKind.MALFORMED_BODY,
                "The form ends before its closing boundary, so it is incomplete.",
            )
        yield await _sort(data.multi_items(), files, fields, settings.max_json_bytes)


async def _sort(
    parts: list[tuple[str, UploadFile | str]], files: Collection[str], fields: Collection[str], max_bytes: int
) -> Form:
    form = Form({}, {})
    for name, part in parts:
        if name in files:
            if isinstance(part, str):
                raise FaceterError(
                    ProblemKind.INVALID_REQUEST,
                    f"The part {name!r} must be a file, with a file name (curl: -F {name}=@PATH).",
                    field=name,
                )
            form.files.setdefault(name, []).append(part)
        elif name in fields:
            if name in form.fields:
                raise FaceterError(ProblemKind.INVALID_REQUEST, f"The field {name!r} is given twice.", field=name)
            form.fields[name] = part if isinstance(part, str) else await _text(name, part, max_bytes)
        else:
            known = ", ".join((*files, *fields))
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"There is no part {name[:100]!r}; the form takes {known}.",
                field=name[:100],
            )
    return form


async def _text(name: str, part: UploadFile, max_bytes: int) -> str:
    if (part.size or 0) > max_bytes:
        raise FaceterError(ProblemKind.INVALID_REQUEST, f"The field {name!r} is too long.", field=name)
    try:
        return (await part.read()).decode()
    except UnicodeDecodeError as error:
        raise FaceterError(ProblemKind.INVALID_REQUEST, f"The field {name!r} is not UTF-8 text.", field=name) from error


async def sha256_of(file: UploadFile) -> str:
    """Return the SHA-256 of an uploaded file, in hexadecimal."""

    def digest(source: BinaryIO) -> str:
        source.seek(0)
        hasher = hashlib.sha256()
        while chunk := source.read(_READ_BYTES):
            hasher.update(chunk)
        source.seek(0)
        return hasher.hexdigest()

    return await run_in_threadpool(digest, file.file)


def name_of(form: Form, file: UploadFile) -> str:
    """Return the form's `name`, or else the file name without folders and extension.

    Raises:
        FaceterError: `INVALID_REQUEST` if it is empty, longer than 200 characters or not printable.
    """
    name = form.fields.get("name")
    if name is None:
        stem = (file.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        name = stem.rsplit(".", 1)[0] or stem
    try:
        return check_name(name)
    except ValueError as error:
        subject = "The name" if "name" in form.fields else "There is no `name`, and the file name cannot be used: it"
        raise FaceterError(ProblemKind.INVALID_REQUEST, f"{subject} {error}.", field="name") from error
