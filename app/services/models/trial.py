"""Trial runs of an uploaded model, in the engine that serves it."""

from collections.abc import Mapping
from functools import cached_property
from typing import Self

import onnx

from faceter.contracts.errors import FaceterError
from faceter.contracts.models import ModelMetadata
from faceter.contracts.settings import Settings
from faceter.engines.base import Array, Engine, LoadedModel
from faceter.engines.input_shapes import InputShapes, UnknownInputShapesError, choose_input_shapes, run_once
from faceter.graphs.value_types import is_tensor


class TrialModel:
    """An uploaded model, loaded on its first run and closed at the end of the block.

    Args:
        engine: Loads the model.
        settings: Limits.
        content: The ONNX file.
        graph: The same, checked.
    """

    def __init__(self, engine: Engine, settings: Settings, content: bytes, graph: onnx.ModelProto) -> None:
        self._engine = engine
        self._settings = settings
        self._content = content
        self._chosen: tuple[ModelMetadata, InputShapes] | None = None
        self.graph = graph

    @cached_property
    def loaded(self) -> LoadedModel:
        """The loaded model.

        Raises:
            FaceterError: `MODEL_NOT_RUNNABLE` on the field `file`.
        """
        try:
            return self._engine.load(self._content, threads=self._settings.inference_threads)
        except FaceterError as error:
            raise error.at("file") from error

    def run(self, inputs: Mapping[str, Array]) -> None:
        """Run the model once, within the time limit of predictions.

        Raises:
            FaceterError: `INFERENCE_FAILED`; see `loaded`.
        """
        run_once(self.loaded, inputs, self._settings.inference_seconds)

    def shapes(self, metadata: ModelMetadata) -> InputShapes:
        """Return the shapes at which the model runs, checked by running it; repeated metadata are not run again.

        Raises:
            FaceterError: `MODEL_NOT_RUNNABLE` or `METADATA_MISMATCH`. A model whose open sizes nobody gave and none of
                those tried fits is accepted, without shapes, and so is one whose inputs are no tensors.
        """
        if self._chosen is None or self._chosen[0] != metadata:
            self._chosen = metadata, self._choose(metadata)
        return self._chosen[1]

    def _choose(self, metadata: ModelMetadata) -> InputShapes:
        if not all(is_tensor(spec.dtype) for spec in self.loaded.inputs):
            return InputShapes({}, False, {})
        try:
            return choose_input_shapes(
                self.loaded,
                self.graph,
                metadata,
                seconds=self._settings.inference_seconds,
                most_values=self._settings.max_tensor_values,
            )
        except UnknownInputShapesError:
            return InputShapes({}, False, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if "loaded" in vars(self):
            self.loaded.close()
