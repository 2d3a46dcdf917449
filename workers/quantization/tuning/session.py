"""What a tuned method works with: float network, input space, device, precision and seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.dynamic_batch import with_dynamic_batch
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.onnx_module import OnnxModule
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.inputs.augmentation import augment
from workers.quantization.tuning.inputs.space import InputSpace, input_space
from workers.quantization.tuning.memory import activation_values, largest_batch
from workers.quantization.tuning.student.heads import feature_tensors, find_heads
from workers.quantization.tuning.student.network import QuantizedNetwork
from workers.training import precision
from workers.training.replicas import ALONE, Replicas

_TRIAL_BATCHES = 2
_MIN_BATCH = 4
_SMALL_NETWORK_VALUES = 1_000_000
_TOLERANCE = 1e-4
_MOST_WHOLE_RUNS = 16

Network = OnnxModule | QuantizedNetwork
M = TypeVar("M", bound=nn.Module)


class TuningSession:
    """One run of a tuned method on one network.

    Attributes:
        precision: Precision of forward passes.
        packing: How the network's inputs become one tensor.
        space: Input space; None if an input holds text.
        heads: Outputs that the networks are compared by.
        features: Inner tensors that they are compared by.
        teacher: The float network P, never trained.
        fixed_batch: Batch size that the networks must run at; None if any.
        max_batch: Samples that memory allows to train on at once.
        replicas: The processes that share each batch.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE`` if there is no float output; ``OUT_OF_MEMORY``.
    """

    def __init__(self, prepared: PreparedNetwork, request: QuantizationRequest, device: torch.device) -> None:
        self.prepared = prepared
        self.replicas: Replicas = ALONE
        self.request = request
        self.device = device
        self.packing = prepared.packing
        space = input_space(prepared.model, prepared.inputs, prepared.preprocessing)
        self.space: InputSpace | None = None if space is None else space.to(device)
        self.heads = find_heads(prepared.model, prepared.metadata)
        if not self.heads.tensors:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                "This method tunes a network towards the original's outputs, and so needs a model with an output of "
                "float values. rq, dfq and aciq work for any.",
                field="method",
            )
        self.sites = prepared.sites()
        self.features = feature_tensors(prepared.model, self.sites)
        self.fixed_batch: int | None = None
        self.max_batch = largest_batch(prepared.model, device, prepared.shapes)
        self._values = activation_values(prepared.model, prepared.shapes)
        self.precision = precision.Precision("float32", device)
        self.teacher = self.place(OnnxModule(with_dynamic_batch(prepared.model)))
        self.teacher.requires_grad_(False)
        if self.space is not None:
            self.fixed_batch = self._fixed_batch(self.space)
            self.precision = precision.choose(device, self._attempt)

    def student(self, plan: QuantizationPlan, *, learned_steps: bool) -> QuantizedNetwork:
        """Return the quantized network of a plan, on the device, trainable."""
        return self.place(QuantizedNetwork(plan, learned_steps=learned_steps))

    def random(self, name: str) -> torch.Generator:
        """Return a generator of random numbers, seeded by the request's seed and a name."""
        digest = hashlib.sha256(f"{self.request.seed}:{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    def scaled_batch(self, batch: int) -> int:
        """Return the batch size that takes about as long as ``batch`` does with a small network.

        A step then takes about a second. It depends on the network only, not on the host. Networks that run one sample
        at a time get 16 at most.
        """
        if self.packing.whole_runs:
            batch = min(batch, _MOST_WHOLE_RUNS)
        return max(min(batch, _MIN_BATCH), min(batch, batch * _SMALL_NETWORK_VALUES // self._values))

    def share(self, replicas: Replicas, batch: int) -> None:
        """Share each batch of tuning among replicas; before the trainer is made.

        Args:
            replicas: The processes of this job.
            batch: Size of the batch for a small network, see :meth:`scaled_batch`.
        """
        replicas.join(self.scaled_batch(batch))
        self.replicas = replicas
        self.max_batch = replicas.least(self.max_batch)

    def place(self, network: M) -> M:
        """Return a network on the device, channels last if its input is an image."""
        network.to(self.device)
        if self.packing.is_single and len(self.prepared.inputs[0].shape) == 4:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def to_device(self, x: Tensor) -> Tensor:
        """Return inputs on the device, in the memory format of :meth:`place`."""
        x = x.to(self.device, non_blocking=True)
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()

    def augment(self, x: Tensor, random: torch.Generator, *, mixup: float, cutmix: float = 0.0) -> Tensor:
        """Return augmented inputs, see :func:`augment`; integers are not mixed."""
        space = self.space
        if space is not None and not space.continuous:
            return x
        return augment(x, random, images=space is not None and space.images, mixup=mixup, cutmix=cutmix)

    def run(self, network: Network, x: Tensor, watch: Collection[str] = (), *, heads: bool = True) -> dict[str, Tensor]:
        """Run a network in the session's precision, in batches of the fixed size if it has one.

        The last batch is filled up by repeating its inputs; the outputs of repeated inputs are dropped.

        Args:
            network: P or Q.
            x: Inputs, [N, …].
            watch: Further tensors to return.
            heads: Whether to return the heads; only returned tensors are computed.

        Returns:
            The heads and the watched tensors, by name.
        """
        names = list(dict.fromkeys([*(self.heads.tensors if heads else ()), *watch]))
        chunk, count = self.fixed_batch or len(x), len(x)
        if last := count % chunk:
            x = torch.cat([x, x[count - last :][torch.arange(chunk - last, device=x.device) % last]])
        with self.precision.autocast():
            batches: list[dict[str, Tensor]] = [
                network(self.packing.to_network(batch), watch=names, outputs=[]) for batch in torch.split(x, chunk)
            ]
        if len(batches) == 1 and len(x) == count:
            return batches[0]
        outputs = {name: torch.cat([batch[name] for batch in batches]) for name in names}
        return {name: values[: len(values) * count // len(x)] for name, values in outputs.items()}

    @torch.no_grad()
    def teacher_outputs(self, x: Tensor, watch: Collection[str] = ()) -> dict[str, Tensor]:
        """Run P without gradients; see :meth:`run`."""
        return self.run(self.teacher, x, watch)

    @torch.no_grad()
    def _fixed_batch(self, space: InputSpace) -> int | None:
        """Return the batch size that the network must run at; None if samples are independent in a larger batch."""
        if space.fixed_batch is None or self.packing.whole_runs:
            return space.fixed_batch
        x = self.to_device(space.noise(_TRIAL_BATCHES * space.fixed_batch, 0))
        alone = [self.run(self.teacher, part) for part in torch.split(x, space.fixed_batch)]
        try:
            together = self.run(self.teacher, x)
        except (RuntimeError, ValueError):
            return space.fixed_batch
        for name, values in together.items():
            expected = torch.cat([batch[name] for batch in alone])
            if values.shape != expected.shape or not torch.allclose(values, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
                return space.fixed_batch
        return None

    def _attempt(self) -> None:
        """Run the float network forwards and backwards once."""
        assert self.space is not None
        x = self.to_device(self.space.noise(self.space.fixed_batch or _TRIAL_BATCHES, 0))
        x.requires_grad_(self.packing.is_float)
        outputs = self.teacher(self.packing.to_network(x), watch=self.heads.tensors, outputs=[])
        torch.autograd.backward(
            torch.stack([outputs[name].float().square().mean() for name in self.heads.tensors]).sum()
        )
