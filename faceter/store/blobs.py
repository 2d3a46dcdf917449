"""Blobs: files named by the SHA-256 of their bytes, stored completely or not at all."""

import errno
import hashlib
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.connection import RETRY_AFTER_SECONDS

_CHUNK: Final = 1024 * 1024
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_FOLDER: Final = re.compile("[0-9a-f]{2}")
_OWNER: Final = "owner"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STALE_SECONDS: Final = 24 * 3600
_S3_OPTIONS: Final[dict[str, Any]] = {
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 3, "read_timeout": 30, "retries": {"max_attempts": 1}},
}


@dataclass(frozen=True)
class DiskSpace:
    """Space on a file system, bytes."""

    total: int
    """Its size."""
    free: int
    """What is free."""


@dataclass(frozen=True)
class StoredBlob:
    """A blob's name and size."""

    sha256: str
    """SHA-256 of its bytes, in hexadecimal."""
    bytes: int
    """Size in bytes."""


@dataclass(frozen=True)
class StagedBlob(StoredBlob):
    """Bytes that have arrived and been hashed, but are not in the store yet."""

    path: Path
    """Temporary file that holds them."""


@dataclass(frozen=True)
class ListedBlob(StoredBlob):
    """A blob as the store lists it."""

    stored_at: float
    """When it was stored, seconds since 1970."""


@contextmanager
def _write_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise FaceterError(
                ProblemKind.STORAGE_FULL,
                "There is no room left to store this file. Nothing was stored; delete what is no longer needed.",
            ) from error
        raise


class BlobStore:
    """Content-addressed files, in a local folder or in any store that fsspec supports.

    A local blob is written to a temporary file, flushed to disk and renamed. A remote one is collected in a local
    file first and uploaded at once. In both cases readers never see a partial blob, and existing blobs are not written
    again.

    Args:
        url: A folder, or an fsspec URL such as ``s3://bucket/prefix``; created if missing.
        cache_dir: For a remote store, the folder of staged files and of files fetched by `path`; a temporary folder
            by default.
    """

    def __init__(self, url: str, cache_dir: Path | None = None) -> None:
        options = _S3_OPTIONS if url.startswith(("s3:", "s3a:")) else {}
        self._fs, root = fsspec.core.url_to_fs(url, **options)  # type: ignore[no-untyped-call]
        self._local = isinstance(self._fs, LocalFileSystem)
        self._root = str(root).rstrip("/")
        self._staging = Path(self._root) / "incoming" if self._local else self._cache(cache_dir) / "incoming"
        self._fetched = Path(self._root) if self._local else self._cache(cache_dir)

    @staticmethod
    def _cache(cache_dir: Path | None) -> Path:
        return cache_dir or Path(tempfile.gettempdir()) / f"faceter-blobs-{os.getuid()}"

    @staticmethod
    def _relative(sha256: str) -> str:
        if not _DIGEST.fullmatch(sha256):
            raise ValueError(f"not a SHA-256 in hexadecimal: {sha256!r}")
        return f"{sha256[:2]}/{sha256}"

    def _key(self, sha256: str) -> str:
        return f"{self._root}/{self._relative(sha256)}"

    @staticmethod
    def _missing(sha256: str) -> FaceterError:
        return FaceterError(
            ProblemKind.BLOB_MISSING, f"The stored file {sha256} is gone. Restore the blob store, or upload it again."
        )

    @contextmanager
    def stage(self, source: BinaryIO | bytes) -> Iterator[StagedBlob]:
        """Write ``source`` to a temporary file and hash it; at the end of the block it is deleted unless committed.

        Args:
            source: The bytes, or a binary stream, read from its current position to its end.

        Raises:
            FaceterError: `STORAGE_FULL` if there is no space.
        """
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        digest = hashlib.sha256()
        size = 0
        with _write_errors():
            self._staging.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._staging)
        path = Path(name)
        try:
            with _write_errors(), open(descriptor, "wb") as file:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            yield StagedBlob(digest.hexdigest(), size, path)
        finally:
            path.unlink(missing_ok=True)

    def commit(self, staged: StagedBlob) -> StoredBlob:
        """Put staged bytes into the store, unless they are there already.

        Raises:
            FaceterError: `STORAGE_FULL` if there is no space, `STORE_UNAVAILABLE` if a remote store cannot be reached.
        """
        if not self.exists(staged.sha256):
            if self._local:
                self._rename(staged.path, self._local_path(staged.sha256))
            else:
                with _write_errors(), self._remote_errors():
                    key = self._key(staged.sha256)
                    self._fs.makedirs(key.rsplit("/", 1)[0], exist_ok=True)
                    self._fs.put_file(str(staged.path), key)
        return StoredBlob(staged.sha256, staged.bytes)

    @staticmethod
    def _rename(source: Path, target: Path) -> None:
        with _write_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def put(self, source: BinaryIO | bytes) -> StoredBlob:
        """Store bytes and return their digest and size.

        Args:
            source: The bytes, or a binary stream, read from its current position to its end.

        Raises:
            FaceterError: `STORAGE_FULL` if there is no space, `STORE_UNAVAILABLE` if a remote store cannot be reached.
        """
        with self.stage(source) as staged:
            return self.commit(staged)

    def put_file(self, path: Path) -> StoredBlob:
        """Store a copy of a file; see `put`."""
        with path.open("rb") as file:
            return self.put(file)

    def exists(self, sha256: str) -> bool:
        """Return whether the blob is in the store."""
        if self._local:
            return self._local_path(sha256).is_file()
        with self._remote_errors():
            return bool(self._fs.isfile(self._key(sha256)))

    def size(self, sha256: str) -> int:
        """Return the blob's size in bytes.

        Raises:
            FaceterError: `BLOB_MISSING`.
        """
        try:
            with self._remote_errors():
                return int(self._fs.size(self._key(sha256)))
        except FileNotFoundError as error:
            raise self._missing(sha256) from error

    def open(self, sha256: str) -> BinaryIO:
        """Open the blob as a seekable stream, which the caller closes.

        Raises:
            FaceterError: `BLOB_MISSING`.
        """
        try:
            if self._local:
                return self._local_path(sha256).open("rb")
            with self._remote_errors():
                return cast(BinaryIO, self._fs.open(self._key(sha256), "rb"))
        except FileNotFoundError as error:
            raise self._missing(sha256) from error

    def read(self, sha256: str) -> bytes:
        """Return all of the blob's bytes.

        Raises:
            FaceterError: `BLOB_MISSING`.
        """
        with self._remote_errors(), self.open(sha256) as file:
            return file.read()

    def is_intact(self, sha256: str) -> bool:
        """Return whether the blob's bytes have its digest, by reading all of them.

        Raises:
            FaceterError: `BLOB_MISSING`.
        """
        digest = hashlib.sha256()
        with self._remote_errors(), self.open(sha256) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == sha256

    def path(self, sha256: str) -> Path:
        """Return a local file with the blob's bytes; callers must not change or delete it.

        A blob of a remote store is fetched once, its digest is checked, and it is cached.

        Raises:
            FaceterError: `BLOB_MISSING`, also if the digest of the fetched bytes differs.
        """
        path = self._local_path(sha256)
        if path.is_file():
            return path
        if self._local:
            raise self._missing(sha256)
        with self.open(sha256) as file, self._remote_errors(), self.stage(file) as staged:
            if staged.sha256 != sha256:
                raise self._missing(sha256)
            self._rename(staged.path, path)
        return path

    def delete(self, sha256: str) -> None:
        """Delete the blob if it exists."""
        self._local_path(sha256).unlink(missing_ok=True)
        if not self._local:
            with self._remote_errors(), suppress(FileNotFoundError):
                self._fs.rm_file(self._key(sha256))

    def sweep(self) -> int:
        """Delete temporary files that dead processes left more than a day ago; return their number."""
        stale = 0
        if self._staging.is_dir():
            for path in self._staging.iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                        path.unlink()
                        stale += 1
        return stale

    def listed(self) -> Iterator[ListedBlob]:
        """Yield all blobs of the store, in no order.

        Raises:
            FaceterError: `STORE_UNAVAILABLE` if a remote store cannot be reached.
        """
        with self._remote_errors():
            for folder in self._ls(self._root):
                if folder["type"] == "directory" and _FOLDER.fullmatch(folder["name"].rstrip("/").rpartition("/")[2]):
                    for item in self._ls(folder["name"]):
                        name = item["name"].rpartition("/")[2]
                        if item["type"] == "file" and _DIGEST.fullmatch(name):
                            yield ListedBlob(name, int(item["size"] or 0), _stored_at(item))

    def _ls(self, folder: str) -> list[dict[str, Any]]:
        try:
            return cast(list[dict[str, Any]], self._fs.ls(folder, detail=True))
        except FileNotFoundError:
            return []

    def owner(self) -> str | None:
        """Return the id of the Redis that this store belongs to; None if it has none yet."""
        try:
            with self._remote_errors():
                return self._fs.cat_file(f"{self._root}/{_OWNER}").decode() or None
        except FileNotFoundError:
            return None

    def set_owner(self, id: str) -> None:
        """Write the id of the Redis that this store belongs to."""
        with _write_errors(), self._remote_errors():
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(f"{self._root}/{_OWNER}", id.encode())

    def space(self) -> DiskSpace | None:
        """Return the size and the free space of the file system of the blobs, bytes; None for a remote store."""
        if not self._local:
            return None
        root = Path(self._root)
        used = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists()))
        return DiskSpace(used.total, used.free)

    def _local_path(self, sha256: str) -> Path:
        return self._fetched / self._relative(sha256)

    @contextmanager
    def _remote_errors(self) -> Iterator[None]:
        if self._local:
            yield
            return
        try:
            yield
        except _unreachable() as error:
            raise FaceterError(
                ProblemKind.STORE_UNAVAILABLE,
                "The blob store cannot be reached at the moment. Try again in a few seconds.",
                retry_after=RETRY_AFTER_SECONDS,
            ) from error


def _stored_at(item: dict[str, Any]) -> float:
    """Return when a listed file was stored, by the first name under which its file system says so."""
    for name in ("mtime", "LastModified", "last_modified", "created"):
        match item.get(name):
            case datetime() as moment:
                return moment.timestamp()
            case int() | float() as seconds:
                return float(seconds)
    return time.time()


def _unreachable() -> tuple[type[Exception], ...]:
    """Return the exceptions of an unreachable remote store, including those of the S3 client if it is installed."""
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return (ConnectionError, TimeoutError)
    return (ConnectionError, TimeoutError, BotoCoreError)
