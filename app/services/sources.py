"""What checks of requests for work share: names, models and datasets that exist, that go together, that can be run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import onnx

from app.services.record_files import file_of
from faceter.contracts.base import check_name
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.explanations import Explanation, ExplanationRequest, Unit
from faceter.contracts.models import Model, Task
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.translators import Translator, TranslatorTraining, UploadedGenerators
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.grading import GRADED_BY, check_classes
from faceter.datasets.kinds import InputDataset, open_dataset, open_inputs
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.explanations.masks import MASKS, read_masks
from faceter.explanations.units import read_units
from faceter.graphs.check import load_model
from faceter.graphs.operators import unsupported
from faceter.store.library import Library
from faceter.store.records import Record, Records
from faceter.vision.metadata import class_output

R = TypeVar("R", QuantizationRequest, EvaluationRequest, ExplanationRequest, TranslatorTraining, UploadedGenerators)
T = TypeVar("T", bound=Record)


class Sources:
    """The models and datasets that requests name, looked up and opened. Every method blocks.

    Args:
        library: Where they are.
        settings: Limits.
    """

    def __init__(self, library: Library, settings: Settings) -> None:
        self._library = library
        self._settings = settings

    def dataset(self, id: str, field: str) -> Dataset:
        """Return the dataset that a field names.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field if there is none.
        """
        return named(self._library.datasets, id, field)

    def model(self, id: str, field: str) -> Model:
        """Return the model that a field names.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field if there is none.
        """
        return named(self._library.models, id, field)

    def translator(self, id: str, field: str) -> Translator:
        """Return the translator that a field names.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field if there is none, or none that is ready.
        """
        return named(self._library.translators, id, field)

    def find_dataset(self, id: str) -> Dataset | None:
        """Return the dataset of an id, if it is there."""
        return self._library.datasets.find(id)

    def find_model(self, id: str) -> Model | None:
        """Return the model of an id, if it is there."""
        return self._library.models.find(id)

    def graph(self, model: Model) -> onnx.ModelProto:
        """Return a model's graph."""
        content = self._library.blobs.read(model.sha256)
        return load_model(content, max_bytes=len(content))

    def width(self, dataset: Dataset) -> int:
        """Return how many values each sample of a dataset of features has."""
        path = self._library.blobs.path(dataset.sha256)
        with open_dataset(path, DatasetKind.FEATURES, self._settings) as opened:
            assert isinstance(opened, FeaturesDataset)
            return opened.width

    @contextmanager
    def opened(self, dataset: Dataset, field: str) -> Iterator[InputDataset]:
        """Open a dataset of inputs; what does not fit in the block is said of the field."""
        path = self._library.blobs.path(dataset.sha256)
        with _said_of(field), open_inputs(path, dataset.kind, self._settings) as opened:
            yield opened

    @contextmanager
    def opened_domains(self, dataset: Dataset, field: str) -> Iterator[DomainsDataset]:
        """Open a dataset of two domains; what does not fit in the block is said of the field."""
        path = self._library.blobs.path(dataset.sha256)
        with _said_of(field), open_dataset(path, DatasetKind.DOMAINS, self._settings) as opened:
            yield opened

    @contextmanager
    def opened_pairs(self, dataset: Dataset, field: str) -> Iterator[TextPairsDataset]:
        """Open a dataset of text pairs; what does not fit in the block is said of the field."""
        path = self._library.blobs.path(dataset.sha256)
        with _said_of(field), open_dataset(path, DatasetKind.TEXT_PAIRS, self._settings) as opened:
            yield opened

    def check_takes(self, model: Model, dataset: Dataset, field: str, *, otherwise: str) -> None:
        """See that a model takes the samples of a dataset.

        Args:
            model: The model.
            dataset: The dataset.
            field: The field at fault if it does not.
            otherwise: What to do where the model cannot be uploaded again with preprocessing.

        Raises:
            FaceterError: `WRONG_DATASET_KIND`, `DATASET_MISMATCH`.
        """
        match dataset.kind:
            case DatasetKind.FEATURES:
                raise wrong_kind(dataset, "features are no inputs of a model", field)
            case DatasetKind.TEXT_PAIRS:
                raise wrong_kind(dataset, "text pairs are for explanations", field)
            case DatasetKind.DOMAINS:
                raise wrong_kind(
                    dataset,
                    "two domains are for translators, and the images of one of them can be uploaded as kind images",
                    field,
                )
            case DatasetKind.SIGNALS:
                self._check_takes_signals(model, dataset, field)
            case DatasetKind.IMAGES | DatasetKind.DETECTION | DatasetKind.CONCEPTS:
                _check_takes_images(model, dataset, field, otherwise)

    def check_labelled(self, model: Model, dataset: Dataset, field: str, work: str) -> None:
        """See that a dataset says what a model should answer, by the model's own classes.

        Args:
            model: A model of one of the tasks that are `GRADED_BY` a kind of dataset.
            dataset: The dataset.
            field: The field that names it.
            work: What is done by it, such as "the evaluation of object_detection".

        Raises:
            FaceterError: `WRONG_DATASET_KIND`, `DATASET_MISMATCH`.
        """
        task = model.metadata.task
        if dataset.kind is not GRADED_BY[task]:
            raise wrong_kind(dataset, f"{work} needs {GRADED_BY[task]}", field)
        if task is Task.OBJECT_DETECTION and model.metadata.detection is None:
            raise mismatch(
                "The model's metadata has no `detection`, so its boxes cannot be compared with those of a dataset.",
                field,
            )
        if not dataset.classes:
            raise mismatch(f"{dataset.id} has no labels, so accuracy cannot be measured on it.", field)
        with self.opened(dataset, field) as opened:
            check_classes(opened, model.metadata.labels, _class_count(model))

    def units(self, explanation: Explanation) -> list[Unit]:
        """Return an explanation's units."""
        return read_units(self._library.blobs.path(explanation.sha256))

    def knows_right(self, explanation: Explanation) -> bool:
        """Whether an explanation knows of each of its samples which class it is of, and which the model predicts."""
        masks = read_masks(self._library.blobs.path(file_of(explanation, MASKS).sha256), layers=[])
        return masks.labels is not None and masks.predicted is not None

    def _check_takes_signals(self, model: Model, dataset: Dataset, field: str) -> None:
        if model.metadata.preprocessing is not None:
            raise wrong_kind(dataset, "the model takes images", field)
        with self.opened(dataset, field) as opened:
            if isinstance(opened, SignalsDataset):
                opened.input_of(model.inputs)


@contextmanager
def _said_of(field: str) -> Iterator[None]:
    try:
        yield
    except FaceterError as error:
        raise error.at(field) from error


def _check_takes_images(model: Model, dataset: Dataset, field: str, otherwise: str) -> None:
    if model.metadata.task is Task.SIGNAL_CLASSIFICATION:
        raise wrong_kind(dataset, "the model takes signals", field)
    if model.metadata.preprocessing is None or len(model.inputs) != 1:
        raise mismatch(
            "The model's metadata has no `preprocessing` for its one input, so it is not known how images become it. "
            f"Upload the model again with preprocessing, or {otherwise}.",
            field,
        )


def _class_count(model: Model) -> int | None:
    """Return how many classes a model tells apart, if its output says so."""
    sizes = class_output(model.metadata, model.outputs).shape[1:]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def check_operators(graph: onnx.ModelProto, work: str, field: str | None = None) -> None:
    """See that torch can run a graph.

    Args:
        graph: A checked model.
        work: What does not know an operator, such as "Quantization".
        field: The field that names the model, if one does.

    Raises:
        FaceterError: `UNSUPPORTED_OPERATOR`, with all of them as `operators`.
    """
    unknown = unsupported(graph)
    if unknown:
        operator, node = unknown[0]
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPERATOR,
            f"{work} does not know the operator {operator} (node {node!r}). "
            "The model can be served with predict all the same.",
            field=field,
            operators=sorted({operator for operator, _ in unknown}),
        )


def with_name(request: R) -> R:
    """Return the request with its name as it will be kept.

    It is checked here and not by the contract, which old records must go on to fit.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `name`.
    """
    if request.name is None:
        return request
    try:
        return request.model_copy(update={"name": check_name(request.name)})
    except ValueError as error:
        raise invalid(f"The name {error}.", "name") from error


def named(records: Records[T], id: str, field: str) -> T:
    """Return the record that a field names.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field if there is none.
    """
    record = records.find(id)
    if record is None:
        raise invalid(records.not_found(id).detail, field)
    return record


def invalid(detail: str, field: str) -> FaceterError:
    """Return the error for a field that cannot be as it is."""
    return FaceterError(ProblemKind.INVALID_REQUEST, detail, field=field)


def mismatch(detail: str, field: str) -> FaceterError:
    """Return the error for a dataset and what it does not go with."""
    return FaceterError(ProblemKind.DATASET_MISMATCH, detail, field=field)


def wrong_kind(dataset: Dataset, but: str, field: str) -> FaceterError:
    """Return the error for a dataset of a kind that is of no use here."""
    return FaceterError(
        ProblemKind.WRONG_DATASET_KIND, f"{dataset.id} is of kind {dataset.kind}; {but}. Choose another.", field=field
    )
