"""Tables of the serving benchmark, as Markdown for a page of the documentation."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.serving_peers.cases import CASES
from benchmarks.serving_peers.results import Results, Summary

BARE, FACETER, PEERS = "bare loop", "faceter", ("litserve", "mlserver", "bentoml")
BEST_OF_US: Final = "faceter, 2 processes"
_SHARE_GOAL, _SHARE_CASES, _SHARE_CLIENTS = 0.9, ("fastestdet", "generator"), 32
_TAIL_GOAL: Final = 3.0
_BUSY: Final = 0.3
"""Cores that other programs use, from which on times and throughput decide nothing."""
_START, _END = "<!-- table -->", "<!-- end of table -->"


def tables(results: Results) -> str:
    """Return the goals, a table for each case, overload and cold start."""
    parts = [f"### Goals\n\n{goals(results)}"]
    for case in CASES:
        rows = list(results.summaries(case.name))
        if rows:
            parts.append(f"### {case.name}\n\n{_case_table(rows)}\n\n{_notes(results, case.name)}".rstrip())
    for kind, title in (("overload", "Overload"), ("cold start", "Cold start")):
        lines = [_sentence(record["text"]) for record in results.of_kind(kind)]
        if lines:
            parts.append(f"### {title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def goals(results: Results) -> str:
    """Return which goals are met, as a table."""
    lines = ["| goal | case | measured | met |", "|---|---|---|---|"]
    for case in CASES:
        rows = {(row.contender, row.clients): row for row in results.summaries(case.name)}
        ours, bare = rows.get((BEST_OF_US, _SHARE_CLIENTS)), rows.get((BARE, _SHARE_CLIENTS))
        if ours is None:
            continue
        if case.name in _SHARE_CASES and bare is not None:
            share = ours.rate / bare.rate
            goal = f"{_SHARE_GOAL} of the bare loop, {_SHARE_CLIENTS} clients"
            lines.append(
                _goal(
                    goal,
                    case.name,
                    f"{share:.2f}; by CPU {bare.cpu_ms / ours.cpu_ms:.2f}",
                    met=share >= _SHARE_GOAL,
                    rows=[ours, bare],
                )
            )
        tail = ours.p99_ms / ours.p50_ms
        goal = f"p99 at most {_TAIL_GOAL:.0f} × p50, {_SHARE_CLIENTS} clients"
        lines.append(_goal(goal, case.name, f"{tail:.1f}", met=tail <= _TAIL_GOAL, rows=[ours]))
        ratios = {
            clients: _of_best_peer(rows[name, clients], list(rows.values()))
            for name, clients in rows
            if name == BEST_OF_US
        }
        known = {clients: ratio for clients, ratio in ratios.items() if ratio is not None}
        if known:
            thrift = [_cpu_of_best_peer(rows[BEST_OF_US, clients], list(rows.values())) for clients in known]
            told = ", ".join(
                f"{ratio:.2f} ({clients}; by CPU {cpu:.2f})"
                for (clients, ratio), cpu in zip(known.items(), thrift, strict=True)
            )
            lines.append(
                _goal(
                    "ahead of every peer (clients)",
                    case.name,
                    told,
                    met=min(known.values()) > 1,
                    rows=list(rows.values()),
                )
            )
    return "\n".join(lines)


def write_page(results: Results, page: Path | None) -> str:
    """Return the tables; write them between the marks of a page, if one is given."""
    text = tables(results)
    if page is not None:
        before, _, rest = page.read_text(encoding="utf-8").partition(f"{_START}\n")
        _, _, after = rest.partition(_END)
        page.write_text(f"{before}{_START}\n\n{text}\n{_END}{after}", encoding="utf-8")
    return text


def _case_table(rows: Sequence[Summary]) -> str:
    lines = [
        "| clients | contender | answers/s | p50 ms | p99 ms | CPU ms | MiB | errors | others | of bare | by CPU | "
        "of best peer | by CPU |",
        f"|{'---|' * 13}",
    ]
    bare = {row.clients: row for row in rows if row.contender == BARE}
    for row in sorted(rows, key=lambda row: row.clients):
        limit = bare.get(row.clients)
        share = "– | –" if limit is None else f"{row.rate / limit.rate:.2f} | {limit.cpu_ms / row.cpu_ms:.2f}"
        ours = row.contender.startswith(FACETER)
        ratio, cpu_ratio = (_of_best_peer(row, rows), _cpu_of_best_peer(row, rows)) if ours else (None, None)
        figures = f"{row.rate:.1f} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.cpu_ms:.2f} | {row.peak_mib:.0f}"
        best = "– | –" if ratio is None else f"{ratio:.2f} | {cpu_ratio:.2f}"
        others = "–" if math.isnan(row.others) else f"{row.others:.1f}"
        lines.append(f"| {row.clients} | {row.contender} | {figures} | {row.errors} | {others} | {share} | {best} |")
    return "\n".join(lines)


def _of_best_peer(row: Summary, rows: Sequence[Summary]) -> float | None:
    """Return the ratio of throughputs; None without peers."""
    peers = [other.rate for other in rows if other.contender in PEERS and other.clients == row.clients]
    best = max(peers, default=0.0)
    return row.rate / best if best else None


def _cpu_of_best_peer(row: Summary, rows: Sequence[Summary]) -> float:
    """Return how many times the CPU time of an answer the most thrifty peer needs."""
    peers = [other.cpu_ms for other in rows if other.contender in PEERS and other.clients == row.clients]
    return min(peers) / row.cpu_ms if peers else math.nan


def _goal(goal: str, case: str, measured: str, *, met: bool, rows: Sequence[Summary]) -> str:
    """Return a row; a goal counts as met or not only if the host was idle otherwise."""
    idle = all(row.others <= _BUSY for row in rows)
    verdict = "yes" if met else "**no**"
    return f"| {goal} | {case} | {measured} | {verdict if idle else f'undecided ({verdict} on a busy host)'} |"


def _notes(results: Results, case: str) -> str:
    """Return what was noted about a case: which engine served it, and who could not."""
    notes = {
        record["text"]: None
        for record in results.of_kind("note")
        if record["case"] == case and not ("missing" in record and results.has(case=case, contender=record["missing"]))
    }
    return "\n".join(map(_sentence, notes))


def _sentence(text: str) -> str:
    return textwrap.fill(f"- {text}", 98, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
