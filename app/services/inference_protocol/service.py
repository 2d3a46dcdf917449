"""What the protocol asks for, the same over HTTP and gRPC."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as version_of
from typing import Final

from app.services.core import Service
from app.services.inference_protocol.contracts import (
    VERSION,
    ModelMetadataResponse,
    Parameters,
    RepositoryEntry,
    ServerDescription,
    TensorDescription,
)
from app.services.inference_protocol.datatypes import DATATYPES
from app.services.inference_protocol.tensors import (
    InputTensor,
    OutputTensor,
    RequestedOutput,
    classified,
    to_array,
    to_output,
)
from app.services.models.service import ModelService
from app.services.monitoring.readiness import Readiness
from app.services.predictions.input_checks import check_names, check_outputs, invalid_input
from app.services.predictions.service import PredictionService
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, TensorSpec
from faceter.engines.base import Interrupt

EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_repository")
"""Extensions of the protocol that this server has."""

PLATFORM: Final = "onnxruntime_onnx"
"""Every model's runtime and format."""

_HARMLESS_PARAMETERS: Final = {"unload_dependents"}
_PAGE: Final = 1000
_MOST_ECHOED: Final = 100


class InferenceProtocolService(Service):
    """Answers the protocol's requests. Models are addressed by id, and have one version."""

    def server(self) -> ServerDescription:
        """Return what the server is."""
        return ServerDescription(name="faceter", version=version_of("faceter"), extensions=list(EXTENSIONS))

    def ready(self) -> bool:
        """Return whether the stores that inference needs can be used; no worker is needed."""
        state = Readiness.of(self.library, self.queue)
        return state.redis.ready and state.blobs.ready

    def model(self, id: str, version: str) -> Model:
        """Return a model.

        Args:
            id: Its id.
            version: A version; empty for any.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        model = self.core.service(ModelService).get(id)
        _check_version(model, version)
        return model

    def description(self, id: str, version: str) -> ModelMetadataResponse:
        """Return what a model takes and returns.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        model = self.model(id, version)
        return ModelMetadataResponse(
            name=model.id,
            versions=[VERSION],
            platform=PLATFORM,
            inputs=_descriptions(model.inputs),
            outputs=_descriptions(model.outputs),
        )

    def infer(
        self,
        id: str,
        version: str,
        inputs: Sequence[InputTensor],
        outputs: Sequence[RequestedOutput],
        interrupt: Interrupt,
    ) -> list[OutputTensor]:
        """Run a model, and return the outputs that are asked for, or all that are tensors.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_INPUT`, naming the input or output; the errors of loading and inference.
        """
        with self._reading(id, version) as model:
            check_names([tensor.name for tensor in inputs], model.inputs)
            specs = {spec.name: spec for spec in model.inputs}
            arrays = {}
            for tensor in inputs:
                if tensor.name in arrays:
                    raise invalid_input(f"The input {tensor.name!r} is there twice.", tensor.name)
                arrays[tensor.name] = to_array(tensor, specs[tensor.name])
            dtypes = {spec.name: spec.dtype for spec in model.outputs}
            wanted = outputs or [RequestedOutput(name) for name, dtype in dtypes.items() if dtype in DATATYPES]
            names = [output.name for output in wanted]
            check_outputs(names, model.outputs)
            results = self.core.service(PredictionService).infer(model, arrays, names, interrupt)
        return [
            classified(output.name, results[output.name], output.classes, model.metadata.labels)
            if output.classes
            else to_output(output.name, dtypes[output.name], results[output.name])
            for output in wanted
        ]

    def index(self) -> list[RepositoryEntry]:
        """Return every stored model, newest first."""
        models, cursor = self.core.service(ModelService).records, None
        entries: list[RepositoryEntry] = []
        while True:
            page = models.page(_PAGE, cursor)
            entries += (RepositoryEntry(name=model.id) for model in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return entries

    def load(self, id: str, parameters: Parameters) -> None:
        """Load a model into memory, if it is not there.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for parameters; the errors of loading.
        """
        _check_parameters(parameters)
        with self._reading(id, "") as model:
            self.core.service(PredictionService).load(model)

    def unload(self, id: str, parameters: Parameters) -> None:
        """Drop a model from memory; its next request loads it again.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for parameters.
        """
        _check_parameters(parameters)
        self.core.service(PredictionService).unload(self.model(id, ""))

    @contextmanager
    def _reading(self, id: str, version: str) -> Iterator[Model]:
        with self.core.service(ModelService).reading(id) as model:
            _check_version(model, version)
            yield model


def _check_version(model: Model, version: str) -> None:
    if version not in ("", VERSION):
        raise FaceterError(
            ProblemKind.NOT_FOUND,
            f"{model.id} has no version {version[:_MOST_ECHOED]!r}; every model has the one version {VERSION!r}.",
        )


def _check_parameters(parameters: Parameters) -> None:
    for name in parameters:
        if name not in _HARMLESS_PARAMETERS:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"The parameter {name[:_MOST_ECHOED]!r} cannot be used here: POST /v1/models uploads a model, with its "
                "file and metadata.",
                field="parameters",
            )


def _descriptions(specs: Sequence[TensorSpec]) -> list[TensorDescription]:
    return [
        TensorDescription(
            name=spec.name,
            datatype=DATATYPES[spec.dtype],
            shape=[size if isinstance(size, int) else -1 for size in spec.shape],
        )
        for spec in specs
        if spec.dtype in DATATYPES
    ]
