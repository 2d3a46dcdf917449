"""Commands on the data itself: find and mend what is inconsistent, back up, restore."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from faceter.cli.settings import load_settings

if TYPE_CHECKING:
    from faceter.store.backups.manifest import BackupManifest
    from faceter.store.doctor.findings import Finding

_INCOMPLETE = 1
_FAILED = 2
_TERMINATED = 143
_MOST_SHOWN = 5

DataFolder = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of all data.", show_default="FACETER_DATA_DIR or faceter-data")
]


def doctor(
    mend: Annotated[bool, typer.Option("--mend", help="Mend what can be mended safely.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also read every file and compare its digest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: DataFolder = None,
) -> None:
    """Find what is inconsistent in the data, also while the service runs; exit status 1 if something is left.

    It works on FACETER_REDIS_URL and FACETER_BLOB_URL, or on the data directory, whether or not `faceter up` runs.
    """
    from faceter.cli.opened_store import opened_store
    from faceter.store.doctor.examination import examine

    settings = load_settings(data_dir=data_dir)
    with _failures(), opened_store(settings) as store:
        findings = examine(settings, store.library, mend=mend, deep=deep, alone=store.alone)
    if as_json:
        rows = [{**asdict(finding), "count": len(finding.ids), "left": finding.left} for finding in findings]
        typer.echo(json.dumps(rows, indent=2))
    else:
        for finding in findings:
            typer.echo(_described(finding))
        left = sum(finding.left for finding in findings)
        mended = sum(len(finding.mended) for finding in findings)
        typer.echo(f"{left} left, {mended} mended." if findings else "Nothing found.")
    raise typer.Exit(1 if any(finding.left for finding in findings) else 0)


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write; replaced when the new one is complete.")],
    data_dir: DataFolder = None,
) -> None:
    """Write all records, jobs and files to one archive, also while the service runs.

    It has the state of one moment. Exit status 1 if files were missing in the store; all else is in the archive.
    """
    from faceter.cli.opened_store import opened_store
    from faceter.store.backups.backup import write_backup

    settings = load_settings(data_dir=data_dir)
    with _failures(), opened_store(settings) as store:
        manifest = write_backup(store.library, file)
    typer.echo(f"{file}: {_summary(manifest)}, as of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC.")
    _report_missing(manifest)


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An archive of `faceter backup`.")],
    data_dir: DataFolder = None,
) -> None:
    """Restore an archive of `faceter backup` into an empty store, with the service stopped.

    The whole archive is checked before anything is written. Jobs that were running wait in their queue again, and
    continue from their checkpoints.
    """
    from faceter.cli.opened_store import opened_store
    from faceter.store.backups.restore import restore_backup
    from faceter.store.orphans import owns

    settings = load_settings(data_dir=data_dir)
    with _failures(), opened_store(settings, new=True) as store:
        manifest = restore_backup(store.library, file)
        is_owner = owns(store.library.redis, store.library.blobs)
    typer.echo(f"Restored {_summary(manifest)}, as of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC.")
    if not is_owner:
        typer.echo("The blob store belongs to another Redis; see `faceter doctor`.", err=True)
    _report_missing(manifest)


def register(application: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (doctor, backup, restore):
        application.command()(command)


@contextmanager
def _failures() -> Iterator[None]:
    """Leave with a message if the work fails; a request to end (SIGTERM) lets it clean up."""
    from faceter.contracts.errors import FaceterError
    from faceter.processes.errors import SupervisorError
    from faceter.store.backups.restore import BackupError
    from faceter.store.schema import SchemaVersionError

    def end(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(_TERMINATED)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except FaceterError as error:
        _fail(error.detail)
    except (BackupError, SchemaVersionError, SupervisorError, OSError, ValueError) as error:
        _fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, previous)


def _described(finding: "Finding") -> str:
    more = len(finding.ids) - _MOST_SHOWN
    shown = [*finding.ids[:_MOST_SHOWN], *([f"and {more} more; --json names all"] if more > 0 else [])]
    mended = f", {len(finding.mended)} mended" if finding.mended else ""
    lines = [f"{finding.check:<24} {len(finding.ids):>6}{mended}   {finding.about}", *(f"    {id}" for id in shown)]
    if finding.left:
        lines.append(f"    → {finding.remedy}")
    return "\n".join(lines)


def _summary(manifest: "BackupManifest") -> str:
    counts = ", ".join(f"{count} {name}" for name, count in manifest.counts.items()) or "no records"
    return f"{counts}, {len(manifest.blobs)} files of {manifest.blob_bytes / 1e6:.1f} MB"


def _report_missing(manifest: "BackupManifest") -> None:
    if manifest.missing:
        typer.echo("These files were missing or damaged in the store, and are not in the archive:", err=True)
        for sha256, ids in manifest.missing.items():
            typer.echo(f"  {sha256} of {', '.join(ids)}", err=True)
        raise typer.Exit(_INCOMPLETE)


def _fail(message: str) -> NoReturn:
    typer.echo(f"faceter: {message}", err=True)
    sys.exit(_FAILED)
