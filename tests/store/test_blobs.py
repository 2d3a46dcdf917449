import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.blobs import BlobStore

CONTENT = b"what is in the file" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MISSING = "0" * 64


@pytest.fixture(params=["local", "memory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "local":
        return BlobStore(str(tmp_path / "blobs"))
    if request.param == "s3":
        return BlobStore(request.getfixturevalue("s3_url"), cache_dir=tmp_path / "cache")
    return BlobStore(f"memory://{uuid4().hex}/prefix", cache_dir=tmp_path / "cache")


@pytest.fixture
def local(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_blob_is_read_back_unchanged(blobs: BlobStore, tmp_path: Path) -> None:
    stored = blobs.put(io.BytesIO(CONTENT))
    assert (stored.sha256, stored.bytes) == (DIGEST, len(CONTENT))
    assert blobs.exists(DIGEST)
    assert blobs.size(DIGEST) == len(CONTENT)
    assert blobs.read(DIGEST) == CONTENT
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    with blobs.open(DIGEST) as file:
        file.seek(5)
        assert file.read(4) == CONTENT[5:9]
        assert file.seek(0) == 0
        assert file.read() == CONTENT
    source = tmp_path / "source"
    source.write_bytes(b"other")
    assert blobs.read(blobs.put_file(source).sha256) == b"other"


def test_a_missing_blob_raises(blobs: BlobStore) -> None:
    assert not blobs.exists(MISSING)
    blobs.delete(MISSING)
    for call in (blobs.open, blobs.read, blobs.path, blobs.size):
        with pytest.raises(FaceterError) as missing:
            call(MISSING)
        assert missing.value.kind is ProblemKind.BLOB_MISSING


def test_a_deleted_blob_is_gone_from_the_cache_too(blobs: BlobStore) -> None:
    blobs.put(CONTENT)
    path = blobs.path(DIGEST)
    blobs.delete(DIGEST)
    assert not blobs.exists(DIGEST)
    assert not path.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_digests_are_names(blobs: BlobStore, name: str) -> None:
    for call in (blobs.exists, blobs.read, blobs.delete, blobs.path):
        with pytest.raises(ValueError, match="SHA-256"):
            call(name)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=3000))
def test_names_are_digests_whatever_the_bytes(blobs: BlobStore, content: bytes) -> None:
    stored = blobs.put(content)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert blobs.read(stored.sha256) == content


def test_an_existing_blob_is_not_written_again(local: BlobStore) -> None:
    local.put(CONTENT)
    before = local.path(DIGEST).stat()
    local.put(CONTENT)
    after = local.path(DIGEST).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_failing_source_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    class Breaks(io.RawIOBase):
        left = 2

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise ConnectionResetError("the client went away")
            return b"x" * size

    with pytest.raises(ConnectionResetError):
        blobs.put(Breaks())  # type: ignore[arg-type]
    assert files(tmp_path) == []


def test_partial_blobs_are_never_visible(local: BlobStore) -> None:
    size = 20_000_000
    content = os.urandom(1000) * (size // 1000)
    digest = hashlib.sha256(content).hexdigest()
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if local.exists(digest):
                seen.add(local.size(digest))

    watcher = threading.Thread(target=look)
    watcher.start()
    local.put(content)
    time.sleep(0.01)
    done.set()
    watcher.join()
    assert seen == {size}


def test_many_writers_of_one_content_make_one_blob(local: BlobStore, tmp_path: Path) -> None:
    threads = [threading.Thread(target=local.put, args=(CONTENT,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files(tmp_path) == [local.path(DIGEST)]
    assert local.read(DIGEST) == CONTENT


def test_blobs_are_readable_and_not_executable(local: BlobStore) -> None:
    local.put(CONTENT)
    assert stat.S_IMODE(local.path(DIGEST).stat().st_mode) == 0o644


def test_a_full_disk_is_a_clean_failure(tmp_path: Path) -> None:
    """The file size limit is set by the kernel, in a separate process."""
    code = """
import resource, sys
from faceter.contracts.errors import FaceterError
from faceter.store.blobs import BlobStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
blobs = BlobStore(sys.argv[1])
try:
    blobs.put(b"x" * 5_000_000)
except FaceterError as error:
    print(error.kind.name)
print(blobs.put(b"small").bytes)
"""
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["STORAGE_FULL", "5"]
    assert [path.name for path in files(tmp_path)] == [hashlib.sha256(b"small").hexdigest()]


def test_leftovers_of_dead_processes_are_swept_after_a_day(local: BlobStore, tmp_path: Path) -> None:
    local.put(CONTENT)
    fresh, stale = (tmp_path / "blobs" / "incoming" / name for name in ("fresh", "stale"))
    for path in (fresh, stale):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))
    assert local.sweep() == 1
    assert sorted(files(tmp_path)) == sorted([fresh, local.path(DIGEST)])


def test_a_fetched_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    blobs = BlobStore(url, cache_dir=tmp_path)
    blobs.put(CONTENT)
    MemoryFileSystem.store[f"{url.removeprefix('memory:/')}/{DIGEST[:2]}/{DIGEST}"].write(b"something else")
    with pytest.raises(FaceterError) as bad:
        blobs.path(DIGEST)
    assert bad.value.kind is ProblemKind.BLOB_MISSING
    assert files(tmp_path) == []


def test_a_remote_blob_is_fetched_once(tmp_path: Path) -> None:
    blobs = BlobStore(f"memory://{uuid4().hex}", cache_dir=tmp_path)
    blobs.put(CONTENT)
    first = blobs.path(DIGEST)
    before = first.stat()
    assert blobs.path(DIGEST) == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns
