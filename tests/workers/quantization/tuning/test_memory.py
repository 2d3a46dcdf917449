"""Batch size that memory allows: needs of a network, free memory of host and container, refusals."""

from pathlib import Path

import pytest
import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from tests.graphs.builders import GraphBuilder
from workers.quantization.tuning import memory
from workers.quantization.tuning.memory import available_bytes, largest_batch, sample_bytes

CPU = torch.device("cpu")
MIB = 2**20


def test_every_activation_counts_five_times_and_weights_not_at_all() -> None:
    net = GraphBuilder(["batch", 3, 10, 10])
    net.conv(7, 3)
    net.add("Relu")
    values = 3 * 100 + 7 * 100 + 7 * 100
    assert sample_bytes(net.build()) == 5 * 4 * values


def test_a_fixed_batch_counts_as_a_whole() -> None:
    free, fixed = (GraphBuilder([batch, 2, 8]) for batch in ("n", 4))
    for net in (free, fixed):
        net.add("Relu")
    assert sample_bytes(fixed.build()) == 4 * sample_bytes(free.build())


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    return tmp_path


def limit(folder: Path, *, most: str, current: int, files: int) -> None:
    (folder / "memory.max").write_text(f"{most}\n", encoding="ascii")
    (folder / "memory.current").write_text(f"{current}\n", encoding="ascii")
    half = files // 2
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {half}\nactive_file {files - half}\n", encoding="ascii")


def test_without_a_container_limit_the_host_memory_counts(container: Path) -> None:
    free = available_bytes(CPU)
    assert free > MIB
    limit(container, most="max", current=10**12, files=0)
    assert available_bytes(CPU) == pytest.approx(free, rel=0.2)


def test_a_container_limit_counts(container: Path) -> None:
    limit(container, most=str(64 * MIB), current=24 * MIB, files=0)
    assert available_bytes(CPU) == 40 * MIB


def test_file_pages_count_as_free(container: Path) -> None:
    """A container that has read much is full of them; it would otherwise refuse all work."""
    limit(container, most=str(64 * MIB), current=64 * MIB, files=50 * MIB)
    assert available_bytes(CPU) == 50 * MIB


def test_a_full_container_has_no_free_memory(container: Path) -> None:
    limit(container, most=str(64 * MIB), current=80 * MIB, files=0)
    assert available_bytes(CPU) == 0


def test_half_of_the_free_memory_is_used(container: Path) -> None:
    net = GraphBuilder(["batch", 4, 64, 64])
    net.add("Relu")
    model = net.build()
    one = sample_bytes(model)
    for room, most in ((8, 4), (9, 4), (15, 4), (16, 8)):
        limit(container, most=str(10**9 + room * one), current=10**9, files=0)
        assert largest_batch(model, CPU) == most, "the power of two below it"


def test_a_network_that_does_not_fit_is_refused_with_the_memory_needed(container: Path) -> None:
    net = GraphBuilder(["batch", 4, 256, 256])
    net.add("Relu")
    model = net.build()
    limit(container, most=str(100 * MIB), current=80 * MIB, files=0)
    assert largest_batch(model, CPU) == 1
    limit(container, most=str(99 * MIB), current=80 * MIB, files=0)
    with pytest.raises(FaceterError, match=r"takes about 10 MiB .* has 19 MiB free, .* half") as caught:
        largest_batch(model, CPU)
    assert caught.value.kind is ProblemKind.OUT_OF_MEMORY
    for method in ("rq", "dfq", "aciq"):
        assert method in caught.value.detail
