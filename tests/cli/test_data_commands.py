"""`faceter doctor`, `faceter backup` and `faceter restore`, on a service that is stopped."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceter.cli.main import application
from faceter.cli.opened_store import _responds
from faceter.contracts.settings import Settings
from faceter.processes.embedded_store import EmbeddedValkey
from faceter.store.library import Library
from faceter.store.schema import migrate
from tests.end_to_end.up_process import clean_environment, wait_until
from tests.store.test_library import model

_ENVIRONMENT = clean_environment()
Command = Callable[..., Result]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "faceter", *arguments]


@pytest.fixture
def faceter(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process, in an empty folder, without settings but those given."""
    monkeypatch.chdir(short_path)
    for name in set(os.environ) - set(_ENVIRONMENT):
        monkeypatch.delenv(name)
    return lambda *arguments, **environment: CliRunner().invoke(application, arguments, env=environment)


@contextmanager
def _library(data: Path) -> Iterator[Library]:
    settings = Settings(_env_file=None, data_dir=data)
    with EmbeddedValkey(settings.valkey_dir), Library(settings) as library:
        yield library


@pytest.fixture
def data(short_path: Path) -> Path:
    """The data directory of a service that is stopped, with one model."""
    with _library(short_path / "data") as library:
        migrate(library.redis)
        library.add(model(library.store_blob(b"weights"), "mdl_1"))
    return short_path / "data"


def test_a_stopped_service_is_backed_up_and_restored_elsewhere(faceter: Command, data: Path, short_path: Path) -> None:
    wait_until(lambda: not _responds(Settings(_env_file=None, data_dir=data)), lambda: "its Valkey lives on")
    done = faceter("backup", "a.tar", "--data-dir", str(data))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 models, 1 files" in done.stdout
    done = faceter("restore", "a.tar", "--data-dir", "new")
    assert (done.exit_code, done.stderr) == (0, "")
    done = faceter("doctor", "--deep", "--data-dir", "new")
    assert (done.exit_code, done.stdout) == (0, "Nothing found.\n")
    with _library(short_path / "new") as library:
        assert library.blobs.read(library.models.get("mdl_1").sha256) == b"weights"
    again = faceter("restore", "a.tar", "--data-dir", "new")
    assert again.exit_code == 2
    assert "choose a new data directory" in again.stderr


def test_the_doctor_says_what_is_wrong_by_its_status_and_what_to_do(
    faceter: Command, data: Path, short_path: Path
) -> None:
    with _library(data) as library:
        library.redis.zrem("faceter:models", "mdl_1")
        library.blobs.delete(library.models.get("mdl_1").sha256)
    done = faceter("doctor", "--data-dir", str(data))
    assert done.exit_code == 1
    assert "unlisted-records" in done.stdout
    assert "--mend adds them" in done.stdout
    done = faceter("doctor", "--mend", "--json", FACETER_DATA_DIR=str(data))
    rows = {row["check"]: (row["count"], row["left"], row["mended"]) for row in json.loads(done.stdout)}
    assert rows == {"unlisted-records": (1, 0, ["mdl_1"]), "missing-files": (1, 1, [])}
    assert done.exit_code == 1
    done = faceter("backup", "a.tar", "--data-dir", str(data))
    assert done.exit_code == 1
    assert "of mdl_1" in done.stderr
    assert (short_path / "a.tar").is_file()


@pytest.mark.parametrize("command", [["doctor"], ["backup", "a.tar"]])
def test_without_data_nothing_is_made(command: list[str], faceter: Command, short_path: Path) -> None:
    done = faceter(*command)
    assert done.exit_code == 2
    assert f"There is no data in {short_path}/faceter-data" in done.stderr
    assert list(short_path.iterdir()) == []


def test_a_redis_that_is_away_is_an_error_of_one_line(faceter: Command, short_path: Path) -> None:
    done = faceter("doctor", FACETER_REDIS_URL=f"unix://{short_path}/none.sock")
    assert done.exit_code == 2
    assert done.stderr.startswith("faceter: The store (Redis) cannot be reached")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "leaves"), [(signal.SIGKILL, ["a.tar.part"]), (signal.SIGTERM, [])])
def test_a_backup_that_is_ended_leaves_the_one_before(
    number: signal.Signals, leaves: list[str], faceter: Command, data: Path, short_path: Path
) -> None:
    with _library(data) as library:
        library.add(model(library.store_blob(bytes(96 << 20)), "mdl_large"))
    target, part = short_path / "a.tar", short_path / "a.tar.part"
    target.write_text("the one before")
    process = subprocess.Popen(_command("backup", "a.tar", "--data-dir", str(data)), cwd=short_path, env=_ENVIRONMENT)
    wait_until(_at_least(part, 1 << 20), lambda: f"nothing was written; status {process.poll()}")
    process.send_signal(number)
    assert process.wait(60) != 0
    assert target.read_text() == "the one before"
    assert [path.name for path in short_path.glob("a.tar.*")] == leaves
    wait_until(lambda: not _responds(Settings(_env_file=None, data_dir=data)), lambda: "its Valkey lives on")
    done = faceter("backup", "a.tar", "--data-dir", str(data))
    assert (done.exit_code, done.stderr) == (0, "")
    assert target.stat().st_size > 96 << 20


def _at_least(path: Path, size: int) -> Callable[[], bool]:
    return lambda: path.exists() and path.stat().st_size >= size
