"""Serving: Faceter against LitServe, MLServer and BentoML, and against the same work without a server.

``python -m benchmarks.serving`` serves every model by every contender and lets `wrk` send the same request from 1, 8,
32 and 128 clients. Before it times a contender it checks that the answer is that of the bare loop: boxes, scores and
classes within 1e-4, pixels within one value. Contenders take turns: in each round every one of them is measured before
any is measured again, so that other load on the host hits all; figures are medians of the rounds. CPU time per answer
depends little on other load.

Peers run in virtual environments of their own, made in ``--environments`` unless they are there, with two worker
processes each. All work is done on the same images by the same versions of ONNX Runtime, numpy and Pillow.

Results are appended to ``--results``, so a run that was cut off goes on where it ended; ``--models``, ``--contenders``
and ``--clients`` select a part. ``overload`` and ``cold-start`` are further parts, for Faceter alone.

Goals: 0.9 of the bare loop's throughput at 32 clients (FastestDet and the generator); ahead of every peer in every row;
p99 of at most three times p50 at 32 clients.
"""

import argparse
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.serving_peers import extremes
from benchmarks.serving_peers.cases import CASES, ServingCase, equal
from benchmarks.serving_peers.client import wrk
from benchmarks.serving_peers.contenders import BareContender, Contender, ContenderError, FaceterContender
from benchmarks.serving_peers.model_files import model_file
from benchmarks.serving_peers.peers import BentoMLPeer, Environment, LitServePeer, MLServerPeer
from benchmarks.serving_peers.results import Results
from benchmarks.serving_peers.table import BARE, BEST_OF_US, write_page

CLIENTS: Final = (1, 8, 32, 128)
CONTENDERS: Final = (BARE, BEST_OF_US, "faceter, 1 process", "litserve", "mlserver", "bentoml")
PARTS: Final = ("speed", "overload", "cold-start")
_WARM_UP_SECONDS, _WARM_UP_CLIENTS = 1.0, 8


def contender(name: str, work: Path, environments: Path) -> Contender:
    """Return a contender by its name."""
    folder = work / name.replace(", ", "-").replace(" ", "-")
    folder.mkdir(exist_ok=True)
    if name == BARE:
        return BareContender(name, folder)
    if name.startswith("faceter"):
        return FaceterContender(name, folder, 2 if name == BEST_OF_US else 1)
    kind = {"litserve": LitServePeer, "mlserver": MLServerPeer, "bentoml": BentoMLPeer}[name]
    return kind(name, folder, Environment(environments / name, name))


def speed(case: ServingCase, options: argparse.Namespace, results: Results) -> None:
    """Measure what is missing of a case."""
    clients = [count for count in options.clients if count <= case.most_clients]
    turns = [
        (turn, count, name)
        for turn in range(options.rounds)
        for count in clients
        for name in _rotated(options.contenders, turn)
        if not results.has(case=case.name, contender=name, clients=count, round=turn)
    ]
    if not turns:
        return
    print(f"{case.name}: {len(turns)} measurements", flush=True)
    running: dict[str, Contender] = {}
    model = model_file(case, options.work).absolute()
    try:
        bare = contender(BARE, options.work, options.environments)
        bare.start(case, model)
        running[BARE] = bare
        expected = bare.answer(case)
        for name in dict.fromkeys(name for _, _, name in turns if name != BARE):
            began = time.monotonic()
            made = running[name] = contender(name, options.work, options.environments)
            try:
                made.start(case, model)
                if not equal(case, expected, found := made.answer(case)):
                    raise ContenderError(f"{name} answers otherwise than the bare loop: {found} for {expected}")
            except ContenderError as error:
                print(error, flush=True)
                results.add("note", case=case.name, missing=name, text=f"{name} is missing: {str(error)[:200]}")
                running.pop(name).stop()
                continue
            _note(made, case, results)
            print(f"  {name} serves after {time.monotonic() - began:.1f} s", flush=True)
        for turn, count, name in turns:
            if name not in running:
                continue
            if count == clients[0]:
                running[name].measure(min(max(2, count), _WARM_UP_CLIENTS), _WARM_UP_SECONDS)
            measured = running[name].measure(count, options.seconds * case.patience)
            values = measured.record()
            results.add(
                "measurement", case=case.name, contender=name, clients=count, round=turn, at=time.time(), **values
            )
            told = " ".join(f"{key} {value:.4g}" for key, value in values.items())
            print(
                f"  round {turn} clients {count} {name}: {measured.requests / measured.seconds:.1f}/s {told}",
                flush=True,
            )
    finally:
        for made in running.values():
            made.stop()


def _note(made: Contender, case: ServingCase, results: Results) -> None:
    """Note the version of a peer, or the engine that serves the case in Faceter."""
    if isinstance(made, FaceterContender):
        results.add("note", case=case.name, text=made.told())
    else:
        results.add("version", contender=made.name, text=made.told())


def _rotated(names: Sequence[str], turn: int) -> list[str]:
    shift = turn % len(names)
    return [*names[shift:], *names[:shift]]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--models", nargs="+", default=[case.name for case in CASES], help="cases of `speed`")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), help="contenders of `speed`")
    parser.add_argument("--clients", nargs="+", type=int, default=list(CLIENTS), help="numbers of clients")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of a measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contender")
    parser.add_argument("--environments", type=Path, default=Path("serving-environments"), help="folder of the peers")
    parser.add_argument("--work", type=Path, default=Path("serving-work"), help="folder for models and logs")
    parser.add_argument("--results", type=Path, help="file of results; by default in the work folder")
    parser.add_argument("--page", type=Path, help="page of the documentation to write")
    options = parser.parse_args()
    unknown = {*options.contenders} - {*CONTENDERS} | {*options.models} - {case.name for case in CASES}
    unknown |= {*options.parts} - {*PARTS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wrk()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options.work, options.environments = options.work.absolute(), options.environments.absolute()
    for folder in (options.work, options.environments):
        folder.mkdir(parents=True, exist_ok=True)
    results = Results(options.results or options.work / "results.jsonl")
    if "speed" in options.parts:
        for case in (case for case in CASES if case.name in options.models):
            speed(case, options, results)
            write_page(results, options.page)
    if "overload" in options.parts:
        extremes.overload(options.work, results)
    if "cold-start" in options.parts:
        extremes.cold_start(options.work, results)
    print(write_page(results, options.page))


if __name__ == "__main__":
    main()
