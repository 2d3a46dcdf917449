"""Reading multipart forms, with an error for everything that can be wrong with one."""

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

_MOST_FIELDS: Final = 20
_READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Form:
    """The parts of a form: files by name in the order sent, and text fields."""

    files: dict[str, list[UploadFile]]
    fields: dict[str, str]

    def file(self, name: str) -> UploadFile:
        """Return the one file of that name.

        Raises:
            FaceterError: `INVALID_REQUEST` if there is none or more than one.
        """
        files = self.files.get(name, [])
        if len(files) != 1:
            what = "There is no file" if not files else f"There are {len(files)} files"
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"{what} in the form's part {name!r}; send exactly one (curl: -F {name}=@PATH).",
                field=name,
            )
        return files[0]


class _Parser(MultiPartParser):
    """Starlette's parser, which passes over a last part that was cut off, made to tell of it."""

    complete = False

    def on_end(self) -> None:
        """Note that the closing boundary was there."""
        self.complete = True
        super().on_end()

    def close_files(self) -> None:
        """Close the file of the part that was cut off, which is in no form."""
        for file in self._files_to_close_on_error:
            file.close()


@asynccontextmanager
async def read_form(
    request: Request, settings: Settings, *, files: Collection[str], fields: Collection[str], most_files: int = 1
) -> AsyncIterator[Form]:
    """Read a multipart body; large files wait on disk, and are gone after the block.

    A text field may also be sent as a file, as `curl -F metadata=@metadata.json` does.

    Args:
        request: Its body has not been read.
        settings: `max_json_bytes` limits each text field.
        files: Names that parts with files may have.
        fields: Names that text fields may have.
        most_files: Most files in all.

    Raises:
        FaceterError: `UNSUPPORTED_MEDIA_TYPE`, `MALFORMED_BODY`, `INVALID_REQUEST` for a part nobody asked for or one
            that is there twice, `STORAGE_FULL`.
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
        max_files=most_files + len(fields),
        max_fields=_MOST_FIELDS,
        max_part_size=settings.max_json_bytes,
    )
    async with AsyncExitStack() as stack:
        try:
            data = await parser.parse()
        except MultiPartException as error:
            if error.message.startswith("Too many files"):
                raise FaceterError(
                    ProblemKind.INVALID_REQUEST, f"The form has more than {most_files} files.", field="file"
                ) from error
            raise FaceterError(
                ProblemKind.MALFORMED_BODY, f"The form cannot be read: {error.message.rstrip('.')}."
            ) from error
        except KeyError as error:
            raise FaceterError(
                ProblemKind.MALFORMED_BODY, "The form cannot be read: its Content-Type names no boundary."
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
                "The form ends before its closing boundary: a part of it was lost.",
            )
        yield await _sort(data.multi_items(), files, fields, settings.max_json_bytes)


async def _sort(
    parts: list[tuple[str, UploadFile | str]], files: Collection[str], fields: Collection[str], most_bytes: int
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
                raise FaceterError(ProblemKind.INVALID_REQUEST, f"The field {name!r} is there twice.", field=name)
            form.fields[name] = part if isinstance(part, str) else await _text(name, part, most_bytes)
        else:
            known = ", ".join((*files, *fields))
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"There is no part {name[:100]!r}; the form takes {known}.",
                field=name[:100],
            )
    return form


async def _text(name: str, part: UploadFile, most_bytes: int) -> str:
    if (part.size or 0) > most_bytes:
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
    """Return the form's `name`, or else the file's own name without folders and ending.

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
        whose = "The name" if "name" in form.fields else "There is no `name`, and the file's own does not do: it"
        raise FaceterError(ProblemKind.INVALID_REQUEST, f"{whose} {error}.", field="name") from error
