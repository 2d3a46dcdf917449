"""Runs the notebooks of the folder `examples`; ``python -m tests.examples.notebooks`` stores what they show."""

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

from tests.end_to_end.up_process import Up

ROOT: Final = Path(__file__).resolve().parents[2]
NOTEBOOKS: Final = sorted((ROOT / "examples").glob("*.ipynb"))
_CELL_SECONDS: Final = 600


def executed(path: Path, url: str) -> Any:
    """Return a notebook with its outputs, run from top to bottom against the service at ``url``.

    Raises:
        CellExecutionError: If a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    setting = nbformat.v4.new_code_cell(f"import os\nos.environ['FACETER_URL'] = {url!r}")  # type: ignore[no-untyped-call]
    notebook.cells.insert(0, setting)
    NotebookClient(notebook, timeout=_CELL_SECONDS, resources={"metadata": {"path": str(ROOT)}}).execute()
    del notebook.cells[0]
    return notebook


def stored(notebook: Any) -> Any:
    """Return a notebook as it is stored: without times of execution and what was written to stderr."""
    for number, cell in enumerate(notebook.cells, start=1):
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = number
    return notebook


def main() -> int:
    """Run every notebook against a service of its own, and store its outputs in it."""
    with tempfile.TemporaryDirectory() as folder:
        up = Up(Path(folder) / "data", ["--port", "0"])
        try:
            up.hears("Ready after")
            for path in NOTEBOOKS:
                nbformat.write(stored(executed(path, up.url)), path)  # type: ignore[no-untyped-call]
                print(path.relative_to(ROOT))
        finally:
            up.end(signal.SIGINT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
