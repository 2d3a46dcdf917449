"""The table of wild models, as a page of the documentation."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What came of one step.

    Args:
        kind: ``ok``, ``refused`` (with a reason) or ``failed`` (an error of the server).
        text: The result, or the reason.
        seconds: How long it took.
    """

    kind: str
    text: str
    seconds: float


@dataclass
class Row:
    """One file.

    Args:
        name: The file.
        bytes: Its size.
        metadata: What was said on upload, as JSON.
        shapes: Shapes of inputs with open sizes.
        steps: Outcome by step.
    """

    name: str
    bytes: int
    metadata: str
    shapes: dict[str, list[int]] = field(default_factory=dict)
    steps: dict[str, Outcome] = field(default_factory=dict)


def read_rows(results: Path | None) -> dict[str, Row]:
    """Return the rows of earlier runs by file; none if there are no results yet."""
    if results is None or not results.exists():
        return {}
    stored = json.loads(results.read_text(encoding="utf-8"))
    return {
        item["name"]: Row(**{**item, "steps": {step: Outcome(**outcome) for step, outcome in item["steps"].items()}})
        for item in stored
    }


def write_rows(rows: Sequence[Row], results: Path | None) -> None:
    """Write the rows, for further runs."""
    if results is not None:
        results.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown: a line a file, a column a step."""
    steps = sorted(dict.fromkeys(step for row in rows for step in row.steps), key=lambda step: step == "explain")
    lines = [f"| file | said | shapes | {' | '.join(steps)} |", f"|---|---|---|{'---|' * len(steps)}"]
    for row in rows:
        shapes = "; ".join(f"{name} {shape}" for name, shape in row.shapes.items()) or "fixed"
        cells = [_cell(row.steps.get(step)) for step in steps]
        said = f"`{row.metadata}`" if row.metadata else "nothing"
        lines.append(f"| `{row.name}` | {said} | {shapes} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reasons(rows: Sequence[Row]) -> str:
    """Return every refusal and failure in full, as a list in Markdown."""
    lines = [
        textwrap.fill(f"- `{row.name}`, {step} {outcome.kind}: {outcome.text}", 98, subsequent_indent="  ")
        for row in rows
        for step, outcome in row.steps.items()
        if outcome.kind != "ok"
    ]
    return "\n".join(lines) or "None."


def write_page(rows: Sequence[Row], page: Path | None) -> str:
    """Return table and reasons; write them between the marks of a page, if one is given."""
    text = f"{table(rows)}\n\n## Refused or failed\n\n{reasons(rows)}\n"
    if page is not None:
        before, _, rest = page.read_text(encoding="utf-8").partition("<!-- table -->\n")
        _, _, after = rest.partition("<!-- end of table -->")
        page.write_text(f"{before}<!-- table -->\n\n{text}\n<!-- end of table -->{after}", encoding="utf-8")
    return text


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "–"
    if outcome.kind == "ok":
        return f"{outcome.text}, {outcome.seconds:.0f} s" if outcome.seconds >= 1 else outcome.text
    return outcome.kind
