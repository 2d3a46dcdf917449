"""What a tuned method works with: the float network, where inputs lie, the device, the precision, the seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.batch import with_free_batch
from faceter.graphs.qdq import QuantizationPlan
from workers.network import OnnxModule
from workers.quantization.prepared import Prepared
from workers.quantization.tuning.inputs import InputSpace, input_space
from workers.quantization.tuning.losses import feature_tensors, find_heads
from workers.quantization.tuning.memory import activation_values, most_at_once
from workers.quantization.tuning.network import QuantizedNetwork
from workers.training import precision

_TRIED = 2
_FEWEST = 4
_SMALL_NETWORK = 1_000_000
_CLOSE = 1e-4

Network = OnnxModule | QuantizedNetwork
M = TypeVar("M", bound=nn.Module)


class Session:
    """One run of a tuned method on one network.

    Attributes:
        prepared: The network.
        request: What is asked for.
        device: Where the work is done.
        precision: What it is computed in.
        space: Where inputs lie; None where inputs cannot be made by gradient.
        heads: The outputs that the networks are compared by.
        features: The tensors inside that they are compared by.
        teacher: The float network P; nothing in it is ever trained.
        chunk: How many samples go through a network at once, None for all.
        most: How many samples memory allows to train on at once.

    Args:
        prepared: The network.
        request: What is asked for.
        device: Where to compute.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE`` if there is no output to compare; ``OUT_OF_MEMORY``.
    """

    def __init__(self, prepared: Prepared, request: QuantizationRequest, device: torch.device) -> None:
        self.prepared = prepared
        self.request = request
        self.device = device
        found = input_space(prepared.model, prepared.inputs, prepared.preprocessing)
        self.space: InputSpace | None = None if found is None else found.to(device)
        self.heads = find_heads(prepared.model, prepared.metadata)
        if not self.heads.tensors:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                "This method tunes a network towards the original's answers, and so needs a model with an output of "
                "float values. rq, dfq and aciq work for any.",
                field="method",
            )
        self.sites = prepared.sites()
        self.features = feature_tensors(prepared.model, self.sites)
        self.chunk: int | None = None
        self.most = most_at_once(prepared.model, device)
        self._values = activation_values(prepared.model)
        self.precision = precision.Precision("float32", device)
        self.teacher = self.place(OnnxModule(with_free_batch(prepared.model)))
        self.teacher.requires_grad_(False)
        if self.space is not None:
            self.chunk = self._chunk(self.space)
            self.precision = precision.choose(device, self._attempt)

    def student(self, plan: QuantizationPlan, *, learned_steps: bool) -> QuantizedNetwork:
        """Return the quantized network of a plan, on the device, to be trained."""
        return self.place(QuantizedNetwork(plan, learned_steps=learned_steps))

    def random(self, name: str) -> torch.Generator:
        """Return a source of random numbers, seeded by the request's seed and what it is for."""
        digest = hashlib.sha256(f"{self.request.seed}:{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    def affordable(self, batch: int) -> int:
        """Return the batch to use where ``batch`` would do for a small network: fewer inputs, the larger they are.

        A step stays a matter of a second or so, and depends on nothing but the network.
        """
        return max(min(batch, _FEWEST), min(batch, batch * _SMALL_NETWORK // self._values))

    def place(self, network: M) -> M:
        """Return a network on the device, in the memory format that convolutions are fastest in there."""
        network.to(self.device)
        if len(self.prepared.inputs) == 1 and len(self.prepared.inputs[0].shape) == 4:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def arranged(self, x: Tensor) -> Tensor:
        """Return inputs on the device, in the memory format of :meth:`place`."""
        x = x.to(self.device, non_blocking=True)
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()

    def run(self, network: Network, x: Tensor, watch: Collection[str] = (), *, heads: bool = True) -> dict[str, Tensor]:
        """Run a network in the session's precision, in chunks where it wants a fixed batch.

        The last chunk is filled up by repeating its own inputs where need be, and what comes of those is left out.

        Args:
            network: P or Q.
            x: Inputs, [N, …].
            watch: Further tensors to answer.
            heads: Whether to answer the heads too; only what is to be answered is computed.

        Returns:
            The heads and the watched tensors, by name.
        """
        wanted = list(dict.fromkeys([*(self.heads.tensors if heads else ()), *watch]))
        chunk, count = self.chunk or len(x), len(x)
        if last := count % chunk:
            x = torch.cat([x, x[count - last :][torch.arange(chunk - last, device=x.device) % last]])
        with self.precision.autocast():
            parts: list[dict[str, Tensor]] = [network(part, watch=wanted, outputs=[]) for part in torch.split(x, chunk)]
        if len(parts) == 1 and len(x) == count:
            return parts[0]
        found = {name: torch.cat([part[name] for part in parts]) for name in wanted}
        return {name: values[: len(values) * count // len(x)] for name, values in found.items()}

    @torch.no_grad()
    def ask_teacher(self, x: Tensor, watch: Collection[str] = ()) -> dict[str, Tensor]:
        """Run P without gradients; see :meth:`run`."""
        return self.run(self.teacher, x, watch)

    @torch.no_grad()
    def _chunk(self, space: InputSpace) -> int | None:
        """Return the batch the network must be run in: None if samples do not see each other in a larger one."""
        if space.fixed is None:
            return None
        x = self.arranged(space.noise(_TRIED * space.fixed, 0))
        alone = [self.run(self.teacher, part) for part in torch.split(x, space.fixed)]
        try:
            together = self.run(self.teacher, x)
        except (RuntimeError, ValueError):
            return space.fixed
        for name, values in together.items():
            wanted = torch.cat([part[name] for part in alone])
            if values.shape != wanted.shape or not torch.allclose(values, wanted, rtol=_CLOSE, atol=_CLOSE):
                return space.fixed
        return None

    def _attempt(self) -> None:
        """Run the network forwards and backwards once."""
        assert self.space is not None
        x = self.arranged(self.space.noise(self.space.fixed or _TRIED, 0)).requires_grad_(True)
        found = self.teacher(x, watch=self.heads.tensors, outputs=[])
        torch.autograd.backward(torch.stack([found[name].float().square().mean() for name in self.heads.tensors]).sum())
