"""How many inputs fit: what a network needs, what a host and a container leave, and a refusal that says both."""

from pathlib import Path

import pytest
import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from tests.graphs.builders import GraphBuilder
from workers.quantization.tuning import memory
from workers.quantization.tuning.memory import available_bytes, most_at_once, sample_bytes

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


def test_without_a_container_it_is_what_the_host_has(container: Path) -> None:
    free = available_bytes(CPU)
    assert free > MIB
    limit(container, most="max", current=10**12, files=0)
    assert available_bytes(CPU) == pytest.approx(free, rel=0.2)


def test_a_container_leaves_what_is_below_its_limit(container: Path) -> None:
    limit(container, most=str(64 * MIB), current=24 * MIB, files=0)
    assert available_bytes(CPU) == 40 * MIB


def test_pages_of_files_make_room_when_it_is_needed(container: Path) -> None:
    """A container that has read much is full of them; it would otherwise refuse all work."""
    limit(container, most=str(64 * MIB), current=64 * MIB, files=50 * MIB)
    assert available_bytes(CPU) == 50 * MIB


def test_a_full_container_has_nothing(container: Path) -> None:
    limit(container, most=str(64 * MIB), current=80 * MIB, files=0)
    assert available_bytes(CPU) == 0


def test_half_of_what_is_free_is_used(container: Path) -> None:
    net = GraphBuilder(["batch", 4, 64, 64])
    net.add("Relu")
    model = net.build()
    one = sample_bytes(model)
    for room, most in ((8, 4), (9, 4), (15, 4), (16, 8)):
        limit(container, most=str(10**9 + room * one), current=10**9, files=0)
        assert most_at_once(model, CPU) == most, "the power of two below it"


def test_a_network_for_which_there_is_no_room_is_refused_in_numbers(container: Path) -> None:
    net = GraphBuilder(["batch", 4, 256, 256])
    net.add("Relu")
    model = net.build()
    limit(container, most=str(100 * MIB), current=80 * MIB, files=0)
    assert most_at_once(model, CPU) == 1
    limit(container, most=str(99 * MIB), current=80 * MIB, files=0)
    with pytest.raises(FaceterError, match=r"takes about 10 MiB .* has 19 MiB free, .* half") as caught:
        most_at_once(model, CPU)
    assert caught.value.kind is ProblemKind.OUT_OF_MEMORY
    for method in ("rq", "dfq", "aciq"):
        assert method in caught.value.detail
