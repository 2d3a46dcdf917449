"""Faceter beyond its capacity, and with a model that is not loaded."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from benchmarks.serving_peers.cases import CASES, document
from benchmarks.serving_peers.client import requested
from benchmarks.serving_peers.contenders import FaceterContender, upload
from benchmarks.serving_peers.model_files import large_model, model_file
from benchmarks.serving_peers.processes import ProcessUse, memory_mib, tree
from benchmarks.serving_peers.results import Results

_WAITING: Final = 16
_CONNECTIONS: Final = 256
_TIMES: Final = 4
_RUN_SECONDS, _CAPACITY_SECONDS = 30.0, 5.0
_NORMAL_REQUESTS, _WINDOW, _NORMAL = 30, 5, 1.25
_COLD_STARTS: Final = 5


def overload(work: Path, results: Results) -> None:
    """Offer four times the capacity for 30 seconds, and record answers, memory and recovery."""
    case = next(case for case in CASES if case.name == "fastestdet")
    folder = work / "overload"
    folder.mkdir(exist_ok=True)
    service = FaceterContender("faceter, 1 process", folder, 1, {"FACETER_MAX_WAITING_PER_MODEL": str(_WAITING)})
    try:
        service.start(case, model_file(case, work).absolute())
        assert service.process is not None
        pids = tree(service.process.pid)
        capacity = service.measure(8, _CAPACITY_SECONDS)
        rate = capacity.requests / capacity.seconds
        normal = statistics.median(_timed(lambda: service.answer(case)) for _ in range(_NORMAL_REQUESTS))
        before = memory_mib(pids)
        with ProcessUse(service.process.pid) as use:
            found = requested(
                service.url,
                service.request,
                folder,
                clients=_CONNECTIONS,
                seconds=_RUN_SECONDS,
                count=True,
                pause_ms=1e3 * _CONNECTIONS / (_TIMES * rate),
            )
        recovered = _recovery(lambda: service.answer(case), normal)
        after = memory_mib(pids)
    finally:
        service.stop()
    statuses = Counter(found.statuses)
    answered = statuses.pop("200", 0)
    refused = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())) or "none"
    socket_errors = found.errors - sum(statuses.values())
    results.add(
        "overload",
        at=time.time(),
        text=f"FastestDet, one process, at most {_WAITING} waiting: capacity {rate:.1f} answers/s; offered "
        f"{found.requests / found.seconds:.1f} requests/s from {_CONNECTIONS} connections for {_RUN_SECONDS:.0f} s. "
        f"Answered {answered} ({answered / found.seconds:.1f}/s), other statuses: {refused}; socket errors: "
        f"{socket_errors}. Memory {before:.0f} MiB before, {use.peak_mib:.0f} at the peak, {after:.0f} after. The "
        f"median of one client, {1e3 * normal:.1f} ms, was back {recovered:.1f} s after the end.",
    )


def cold_start(work: Path, results: Results) -> None:
    """Record how long the first request to a model takes that is not loaded."""
    folder = work / "cold"
    folder.mkdir(exist_ok=True)
    service = FaceterContender("faceter, 1 process", folder, 1)
    model = large_model(work)
    try:
        service.start_service()
        with httpx.Client(base_url=service.url, timeout=120, trust_env=False) as client:
            id = upload(client, model, {})
            record = client.post(f"/v1/models/{id}/load").raise_for_status().json()
            given = record["inputs"][0]
            request = document("", {"inputs": {given["name"]: [[0.5] * int(given["shape"][1])]}})

            def predict() -> None:
                headers = {"Content-Type": request.media_type}
                client.post(f"/v1/models/{id}/predict", content=request.body, headers=headers).raise_for_status()

            cold, warm = [], []
            for _ in range(_COLD_STARTS):
                client.post(f"/v1/models/{id}/unload").raise_for_status()
                cold.append(_timed(predict))
                warm.append(_timed(predict))
    finally:
        service.stop()
    told = ", ".join(f"{1e3 * seconds:.0f}" for seconds in cold)
    results.add(
        "cold start",
        at=time.time(),
        text=f"A model of {model.stat().st_size / 1e6:.0f} MB that is not loaded: {1e3 * statistics.median(cold):.0f} "
        f"ms from the request to its answer (median of {told}); loaded, {1e3 * statistics.median(warm):.1f} ms.",
    )


def _recovery(call: Callable[[], object], normal: float) -> float:
    """Return the seconds until the median of five calls is that of before, within a quarter."""
    started, taken = time.perf_counter(), []
    while time.perf_counter() - started < _RUN_SECONDS:
        taken.append(_timed(call))
        if len(taken) >= _WINDOW and statistics.median(taken[-_WINDOW:]) <= _NORMAL * normal:
            break
    return time.perf_counter() - started


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
