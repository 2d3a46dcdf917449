"""Runs of a model as parts of a request's span."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from faceter.engines.base import Array, Interrupt, LoadedModel, WrappedModel
from faceter.tracing.spans import current_span, recorded


def with_recorded_runs(
    serving: AbstractContextManager[LoadedModel], model_id: str
) -> AbstractContextManager[LoadedModel]:
    """Return the same model whose runs are exported, if the current span is.

    Args:
        serving: Context manager with a loaded model.
        model_id: Its id.
    """
    span = current_span()
    return _recording(serving, model_id) if span is not None and span.recording else serving


@contextmanager
def _recording(serving: AbstractContextManager[LoadedModel], model_id: str) -> Iterator[LoadedModel]:
    with serving as loaded:
        yield _RecordedModel(loaded, model_id)


class _RecordedModel(WrappedModel):
    """A loaded model whose runs are exported.

    Args:
        loaded: The model.
        model_id: Its id.
    """

    def __init__(self, loaded: LoadedModel, model_id: str) -> None:
        super().__init__(loaded)
        self._attributes = {"faceter.model.id": model_id}

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once; see `faceter.engines.base.LoadedModel.run`."""
        with recorded("run model", self._attributes):
            return self.loaded.run(inputs, outputs, interrupt=interrupt)
