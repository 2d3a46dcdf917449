"""Running samples of concurrent requests as one batch."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from faceter.engines.base import Array, Interrupt, LoadedModel, WrappedModel


@dataclass(eq=False)
class _Waiting:
    """A request that waits to run with others."""

    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] | None
    samples: int
    ready: threading.Event = field(default_factory=threading.Event)
    result: dict[str, Array] | None = None
    error: Exception | None = None
    leads: bool = False

    def fits(self, other: "_Waiting") -> bool:
        """Whether both can run as one batch."""
        return self.outputs == other.outputs and all(
            values.shape[1:] == other.inputs[name].shape[1:] and values.dtype == other.inputs[name].dtype
            for name, values in self.inputs.items()
        )


class BatchingModel(WrappedModel):
    """A loaded model that runs requests of several threads together; see `faceter.engines.base.LoadedModel`.

    A thread that finds fewer runs in progress than may be leads: it waits for the delay, takes the requests that wait
    and fit, runs them as one batch, and hands on the lead to the next one that waits. If a batch fails, its requests
    run alone, so that none fails for another.

    Args:
        loaded: A model whose inputs and outputs all have the batch as their first axis.
        max_batch_size: Most samples of a run; larger requests run alone.
        runs: Runs at the same time.
        delay_seconds: How long the leading thread waits for others.
        observe: Called with the samples of each run.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        max_batch_size: int,
        *,
        runs: int = 1,
        delay_seconds: float = 0.0,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(loaded)
        self._most = max_batch_size
        self._delay = delay_seconds
        self._observe = observe
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._runs = runs
        self._leading = 0

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once, perhaps with requests of other threads; see `faceter.engines.base.LoadedModel.run`.

        An interrupt stops a request that runs alone; a batch of several is not stopped for one of them.
        """
        samples = {len(values) if values.ndim else 0 for values in inputs.values()}
        if len(samples) != 1 or max(samples) >= self._most or min(samples) == 0:
            self._observe(max(samples, default=1))
            return self.loaded.run(inputs, outputs, interrupt=interrupt)
        item = _Waiting(inputs, None if outputs is None else tuple(outputs), samples.pop())
        with self._lock:
            self._waiting.append(item)
            item.leads = self._leading < self._runs
            self._leading += item.leads
        if not item.leads:
            item.ready.wait()
        if item.leads:
            self._lead(item, interrupt)
        if item.error is not None:
            raise item.error
        assert item.result is not None
        return item.result

    def _lead(self, own: _Waiting, interrupt: Interrupt | None) -> None:
        """Run a batch with the leading request in it, then let the next request lead."""
        if self._delay:
            time.sleep(self._delay)
        try:
            batch = self._take(own)
            self._run(batch, interrupt)
        finally:
            with self._lock:
                following = next((item for item in self._waiting if not item.leads), None)
                if following is not None:
                    following.leads = True
                else:
                    self._leading -= 1
            if following is not None:
                following.ready.set()

    def _take(self, own: _Waiting) -> list[_Waiting]:
        """Take the leading request and those that fit it, in their order."""
        with self._lock:
            batch, left, samples = [own], deque[_Waiting](), own.samples
            for item in self._waiting:
                if item is own:
                    continue
                if not item.leads and samples + item.samples <= self._most and own.fits(item):
                    batch.append(item)
                    samples += item.samples
                else:
                    left.append(item)
            self._waiting = left
            return batch

    def _run(self, batch: list[_Waiting], interrupt: Interrupt | None) -> None:
        if len(batch) > 1:
            try:
                self._run_together(batch)
            except Exception:  # of any request in it
                for item in batch:
                    self._run_alone(item, None)
        else:
            self._run_alone(batch[0], interrupt)
        for item in batch[1:]:
            item.ready.set()

    def _run_together(self, batch: list[_Waiting]) -> None:
        inputs = {name: np.concatenate([item.inputs[name] for item in batch]) for name in batch[0].inputs}
        outputs = self.loaded.run(inputs, batch[0].outputs)
        self._observe(sum(item.samples for item in batch))
        ends = np.cumsum([item.samples for item in batch])
        parts = {name: np.split(values, ends[:-1]) for name, values in outputs.items()}
        for index, item in enumerate(batch):
            item.result = {name: values[index] for name, values in parts.items()}

    def _run_alone(self, item: _Waiting, interrupt: Interrupt | None) -> None:
        try:
            self._observe(item.samples)
            item.result = self.loaded.run(item.inputs, item.outputs, interrupt=interrupt)
        except Exception as error:  # raised again in the thread of the request
            item.error = error
