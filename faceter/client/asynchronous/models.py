"""Models: upload, predict, quantize, explain."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from pydantic import PrivateAttr

from faceter.client.asynchronous.jobs import AsyncRemoteJob
from faceter.client.asynchronous.records import AsyncRecordCollection, AsyncRemoteRecord
from faceter.client.asynchronous.runtime import in_thread
from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.fields import (
    ExplanationFields,
    ModelFilters,
    PredictionFields,
    QuantizationFields,
    UnitSearchFilters,
)
from faceter.client.files import FileLike, FilePart
from faceter.client.html import model_html, prediction_html
from faceter.client.html_images import MOST_IMAGES
from faceter.client.inputs import prediction_call, with_arrays
from faceter.client.torch_models import OpenSizes, exported
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.explanations import ExplanationSummary
from faceter.contracts.graphs import Graph
from faceter.contracts.jobs import Job
from faceter.contracts.models import Model, ModelDescription, ModelMetadata, ModelSummary
from faceter.contracts.predictions import Prediction
from faceter.contracts.references import ResourceName
from faceter.contracts.units import FoundUnit

if TYPE_CHECKING:
    import torch

    from faceter.client.asynchronous.explanations import AsyncRemoteExplanation


class AsyncReceivedPrediction(Prediction):
    """A prediction that shows itself in a notebook, with the first images and the boxes on them.

    `outputs` are arrays where NumPy is installed.
    """

    _images: list[bytes] = PrivateAttr(default_factory=list)

    def _repr_html_(self) -> str:
        return prediction_html(self, self._images)


class AsyncRemoteModel(Model, AsyncRemoteRecord):
    """A model of the service."""

    collection: ClassVar[ResourceName] = ResourceName.MODELS

    def _repr_html_(self) -> str:
        return model_html(self)

    async def predict(
        self, inputs: Any, *, deadline: float | None = None, **options: Unpack[PredictionFields]
    ) -> AsyncReceivedPrediction:
        """Run the model.

        Args:
            inputs: For a model with preprocessing an image or a list of images: paths, bytes, Pillow's images, arrays
                of uint8 [H, W] or [H, W, channels]. For a model with a tokenizer a text, a list of texts, or of pairs
                of texts. For any model an array, for its only input, or a dictionary of arrays by name of the input;
                the first axis is the batch. Nested lists are taken for arrays.
            deadline: Seconds after which the answer is of no use; the service then stops.
            **options: See `faceter.client.fields.PredictionFields`.

        Raises:
            InvalidRequest: If the inputs do not fit the model.
            DeadlineExceeded: If there was no answer by the deadline.
        """
        query = fields_of(options)
        if "input_shapes" in query:
            query["input_shapes"] = json.dumps(query["input_shapes"])
        call = await in_thread(prediction_call, self, inputs, query, deadline)
        prediction = await self.client.transport.fetch(AsyncReceivedPrediction, call)
        found = with_arrays(prediction, self)
        assert isinstance(found, AsyncReceivedPrediction)
        found._images = [part.content for part in call.files[:MOST_IMAGES] if isinstance(part.content, bytes)]
        return found

    async def quantize(self, **fields: Unpack[QuantizationFields]) -> "AsyncRemoteJob[AsyncRemoteModel]":
        """Queue a job that quantizes the model; its result is a new model.

        Args:
            **fields: See `faceter.contracts.quantizations.QuantizationRequest`; for ids, resources are taken too.
        """
        call = ApiCall("POST", f"{self.path}/quantizations", json=fields_of(fields), creates=True)
        return AsyncRemoteJob(self.client, await self.client.transport.fetch(Job, call))

    async def explain(
        self, dataset: Id, *, layer: str | list[str], **fields: Unpack[ExplanationFields]
    ) -> "AsyncRemoteJob[AsyncRemoteExplanation]":
        """Queue a job that explains units of the model; its result is an explanation.

        Args:
            dataset: The probe dataset.
            layer: Name of the tensor whose units are explained, or names of several.
            **fields: See `faceter.contracts.explanations.ExplanationRequest`.
        """
        request = {"dataset_id": id_of(dataset), "layer": layer, **fields_of(fields)}
        call = ApiCall("POST", f"{self.path}/explanations", json=request, creates=True)
        return AsyncRemoteJob(self.client, await self.client.transport.fetch(Job, call))

    async def graph(self) -> Graph:
        """Return its layers, tensors and operators."""
        return await self.client.transport.fetch(Graph, ApiCall("GET", f"{self.path}/graph"))

    async def load(self) -> "AsyncRemoteModel":
        """Load the model into the memory of the service, and measure what serves it fastest; return it."""
        await self.client.transport.send(ApiCall("POST", f"{self.path}/load"))
        return await self.refresh()

    async def unload(self) -> "AsyncRemoteModel":
        """Drop the model from the memory of the service; return it."""
        await self.client.transport.send(ApiCall("POST", f"{self.path}/unload"))
        return await self.refresh()

    def features(self, tensor: str) -> FeatureSource:
        """Return the model with one of its tensors as feature extractor, for `grade` and `train`."""
        return FeatureSource(model_id=self.id, tensor=tensor)

    def quantizations(self, *, page_size: int = 100) -> AsyncIterator[ModelSummary]:
        """Iterate over the models quantized from this one, newest first."""
        return self.client.pages.items(ModelSummary, f"{self.path}/quantizations", {}, page_size)

    def explanations(self, *, page_size: int = 100) -> AsyncIterator[ExplanationSummary]:
        """Iterate over the explanations of this model, newest first."""
        return self.client.pages.items(ExplanationSummary, f"{self.path}/explanations", {}, page_size)

    def units(self, *, page_size: int = 100, **filters: Unpack[UnitSearchFilters]) -> AsyncIterator[FoundUnit]:
        """Iterate over its units in all its explanations, such as those whose formula names a concept."""
        return self.client.pages.items(FoundUnit, f"{self.path}/units", filters, page_size)


class AsyncModels(AsyncRecordCollection[AsyncRemoteModel]):
    """The models of the service."""

    record_type = AsyncRemoteModel

    async def upload(
        self,
        file: FileLike,
        *,
        name: str | None = None,
        metadata: ModelMetadata | Mapping[str, Any] | None = None,
        tokenizer: FileLike | None = None,
    ) -> AsyncRemoteModel:
        """Upload an ONNX file.

        Args:
            file: A path, the content, or an open file.
            name: Name of the model; by default that of the file, without its ending.
            metadata: Task, labels, preprocessing; see `faceter.contracts.models.ModelMetadata`. What is not given is
                taken from what the file says of itself.
            tokenizer: For a text model: its `tokenizer.json`.

        Raises:
            InvalidRequest: If it is no usable model, or the metadata do not fit it.
        """
        files, form = _upload_parts(file, name, metadata, tokenizer)
        call = ApiCall("POST", self._path, form=form, files=files, creates=True)
        return await self._client.made(AsyncRemoteModel, call)

    async def check(
        self,
        file: FileLike,
        *,
        name: str | None = None,
        metadata: ModelMetadata | Mapping[str, Any] | None = None,
        tokenizer: FileLike | None = None,
    ) -> ModelDescription:
        """Return what would be understood of an ONNX file, without storing it; takes and raises what `upload` does."""
        files, form = _upload_parts(file, name, metadata, tokenizer)
        call = ApiCall("POST", f"{self._path}/check", form=form, files=files)
        return await self._client.transport.fetch(ModelDescription, call)

    async def upload_torch(
        self,
        module: "torch.nn.Module",
        example_inputs: Any,
        *,
        name: str | None = None,
        metadata: ModelMetadata | Mapping[str, Any] | None = None,
        open_sizes: OpenSizes | None = None,
        opset: int = 18,
    ) -> AsyncRemoteModel:
        """Export a torch module to ONNX here, with its BatchNorm layers kept, compare it with torch, and upload it.

        Args:
            module: It is not changed.
            example_inputs: A tensor, several in a tuple or list, or a dictionary by name of the parameter of `forward`.
                Shapes, types and ranges of values are taken from them.
            name: Name of the model; by default that of the module's class.
            metadata: As in `upload`.
            open_sizes: Axes of variable size by input, such as ``{"image": {0: "batch", 2: "H", 3: "W"}}``; by default
                the first of every input, the batch.
            opset: Version of the standard operator set, 18 to 21.

        Raises:
            ExportError: If the module cannot be exported.
            ImportError: If torch or a package for the export is missing.
        """
        content = await in_thread(exported, module, example_inputs, open_sizes=open_sizes, opset=opset)
        return await self.upload(content, name=name or type(module).__name__, metadata=metadata)

    def list(self, *, page_size: int = 100, **filters: Unpack[ModelFilters]) -> AsyncIterator[ModelSummary]:
        """Iterate over the models, newest first; pages are read as they are needed."""
        return self._client.pages.items(ModelSummary, self._path, filters, page_size)


def _upload_parts(
    file: FileLike,
    name: str | None,
    metadata: ModelMetadata | Mapping[str, Any] | None,
    tokenizer: FileLike | None,
) -> tuple[tuple[FilePart, ...], dict[str, str]]:
    """Return the files and the fields of the form that uploads a model."""
    files = [FilePart.of("file", file, "model.onnx")]
    if tokenizer is not None:
        files.append(FilePart.of("tokenizer", tokenizer, "tokenizer.json"))
    form = {} if name is None else {"name": name}
    if metadata is not None:
        form["metadata"] = json.dumps(fields_of({"metadata": metadata})["metadata"])
    return tuple(files), form
