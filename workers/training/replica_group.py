"""Replicas that are connected by torch's distributed package."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from workers.training.replicas import ReplicaLostError, Replicas

_LOOPBACK: Final = ("lo", "lo0")


class ReplicaGroup(Replicas):
    """Replicas that are connected by torch's distributed package, once :meth:`connect` was called.

    NCCL connects them where each has a GPU of its own, otherwise gloo. All exchanges are sums, minima and broadcasts,
    which both have.

    Args:
        rank: Number of this replica.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self._device = torch.device("cpu")

    def connect(self, file: Path, count: int, seconds: float, *, loopback: bool) -> None:
        """Wait for the others.

        Args:
            file: File that does not exist, in which they find each other.
            count: Number of replicas.
            seconds: How long an exchange may take: at least as long as what the first replica does alone.
            loopback: Whether all are on this host, and nothing else is to reach them.

        Raises:
            ReplicaLostError: If one does not come.
        """
        on_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= count
        if on_gpus:
            self._device = torch.device("cuda", torch.cuda.current_device())
        elif loopback:
            _limit_gloo_to_loopback()
        _exchange(
            lambda: dist.init_process_group(
                "nccl" if on_gpus else "gloo",
                store=dist.FileStore(str(file), count),  # type: ignore[attr-defined]
                rank=self.rank,
                world_size=count,
                timeout=timedelta(seconds=seconds),
            )
        )
        self.count = count

    def disconnect(self) -> None:
        """Wait until all are here, and end the connection."""
        if self.count > 1:
            self._reduce(torch.ones(())).item()
            self.count = 1
            with suppress(RuntimeError):
                dist.destroy_process_group()

    def agreed(self, *values: float) -> Sequence[float]:
        """Return the values that the first replica gives."""
        given: list[float] = self._broadcast(torch.tensor(values, dtype=torch.float64)).tolist()
        return given

    def agreed_bytes(self, read: Callable[[], bytes | None]) -> bytes | None:
        """Return what the first replica reads; the others do not read it."""
        content = read() if self.is_first else None
        [length] = self.agreed(-1 if content is None else len(content))
        if length < 0:
            return None
        data = torch.zeros(int(length), dtype=torch.uint8)
        if content is not None:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return self._broadcast(data).numpy().tobytes()

    def least(self, value: int) -> int:
        """Return the least of the values of all replicas."""
        return int(self._reduce(torch.tensor(value), dist.ReduceOp.MIN))

    @torch.no_grad()
    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values of the first replica, in place."""
        for tensor in tensors:
            tensor.copy_(self._broadcast(tensor.detach().clone(memory_format=torch.contiguous_format)))

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace gradients by their sums over all replicas, in one exchange."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        summed = self._reduce(torch.cat([gradient.float().flatten() for gradient in gradients]))
        for gradient, values in zip(gradients, torch.split(summed, [each.numel() for each in gradients]), strict=True):
            gradient.copy_(values.view(gradient.shape))

    def sum_losses(self, losses: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
        """Return the losses of the whole batch; see :meth:`Replicas.sum_losses`."""
        values = torch.stack([weight * value.detach().float() for value in losses.values()])
        return dict(zip(losses, self._reduce(values).unbind(), strict=True))

    def mean(self, value: Tensor, samples: int) -> Tensor:
        """Return the mean of a value over all replicas; see :meth:`Replicas.mean`."""
        total, count = self._reduce(torch.stack([samples * value.detach().float(), value.new_tensor(float(samples))]))
        mean: Tensor = total / count
        return mean

    def gathered(self, part: Tensor, whole: int) -> Tensor:
        """Return the samples of all replicas; see :meth:`Replicas.gathered`."""
        samples = part.new_zeros(whole, *part.shape[1:])
        samples[self.share(whole)] = part.detach()
        return self._reduce(samples)

    def _reduce(self, values: Tensor, operation: Any = dist.ReduceOp.SUM) -> Tensor:
        moved = values.to(self._device)
        if self.count > 1:
            _exchange(lambda: dist.all_reduce(moved, operation))
        return moved.to(values.device)

    def _broadcast(self, values: Tensor) -> Tensor:
        moved = values.to(self._device)
        if self.count > 1:
            _exchange(lambda: dist.broadcast(moved, 0))
        return moved.to(values.device)


def _exchange(act: Callable[[], object]) -> None:
    try:
        act()
    except RuntimeError as error:
        raise ReplicaLostError(f"the replicas of this training lost each other: {error}") from error


def _limit_gloo_to_loopback() -> None:
    names = {name for _, name in socket.if_nameindex()}
    for name in _LOOPBACK:
        if name in names:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            return
