"""The models and datasets that a job reads: lookup, opening, and compatibility checks."""

from collections.abc import Iterator
from contextlib import contextmanager

import onnx

from app.services.errors import mismatch, wrong_kind
from app.services.records import file_of, referenced_record
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation
from faceter.contracts.models import Model, Task
from faceter.contracts.settings import Settings
from faceter.contracts.translators import Translator
from faceter.contracts.units import Unit
from faceter.datasets.accuracy import KIND_OF_TASK, measures_accuracy, validate_classes
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.kinds import InputDataset, open_inputs
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.tensors import TensorsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.tokenized import validate_texts_for
from faceter.explanations.masks import MASKS, read_masks
from faceter.explanations.units import read_units
from faceter.graphs.constant_inputs import control_flow_remedy
from faceter.graphs.operators import unsupported
from faceter.graphs.working import load_working_graph
from faceter.store.library import Library
from faceter.vision.metadata import class_output


class JobInputs:
    """Access to the models and datasets that requests reference. Every method blocks.

    Args:
        library: The library.
        settings: Limits.
    """

    def __init__(self, library: Library, settings: Settings) -> None:
        self._library = library
        self._settings = settings

    def dataset(self, id: str, field: str) -> Dataset:
        """Return the dataset that a field references.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field if it does not exist.
        """
        return referenced_record(self._library.datasets, id, field)

    def model(self, id: str, field: str) -> Model:
        """Return the model that a field references.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field if it does not exist.
        """
        return referenced_record(self._library.models, id, field)

    def translator(self, id: str, field: str) -> Translator:
        """Return the translator that a field references.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field if it does not exist or is not ready.
        """
        return referenced_record(self._library.translators, id, field)

    def find_dataset(self, id: str) -> Dataset | None:
        """Return the dataset of an id, or None."""
        return self._library.datasets.find(id)

    def find_model(self, id: str) -> Model | None:
        """Return the model of an id, or None."""
        return self._library.models.find(id)

    def graph(self, model: Model) -> onnx.ModelProto:
        """Return the graph of a model that jobs work on."""
        content = self._library.blobs.read(model.sha256)
        return load_working_graph(content, model.metadata).model

    def width(self, dataset: Dataset) -> int:
        """Return the number of values per sample of a dataset of features."""
        path = self._library.blobs.path(dataset.sha256)
        with FeaturesDataset.open(path, self._settings) as opened:
            assert isinstance(opened, FeaturesDataset)
            return opened.width

    @contextmanager
    def opened(self, dataset: Dataset, field: str) -> Iterator[InputDataset]:
        """Open a dataset of inputs; errors in the block are attributed to the field."""
        path = self._library.blobs.path(dataset.sha256)
        with _errors_at(field), open_inputs(path, dataset.kind, self._settings) as opened:
            yield opened

    @contextmanager
    def opened_domains(self, dataset: Dataset, field: str) -> Iterator[DomainsDataset]:
        """Open a dataset of two domains; errors in the block are attributed to the field."""
        path = self._library.blobs.path(dataset.sha256)
        with _errors_at(field), DomainsDataset.open(path, self._settings) as opened:
            yield opened

    @contextmanager
    def opened_pairs(self, dataset: Dataset, field: str) -> Iterator[TextPairsDataset]:
        """Open a dataset of text pairs; errors in the block are attributed to the field."""
        path = self._library.blobs.path(dataset.sha256)
        with _errors_at(field), TextPairsDataset.open(path, self._settings) as opened:
            yield opened

    def check_compatible(self, model: Model, dataset: Dataset, field: str, *, otherwise: str) -> None:
        """Check that a model accepts the samples of a dataset.

        Args:
            field: The field of errors.
            otherwise: For the error message: the alternative to uploading the model again with preprocessing.

        Raises:
            FaceterError: `WRONG_DATASET_KIND`, `DATASET_MISMATCH`.
        """
        match dataset.kind:
            case DatasetKind.FEATURES:
                raise wrong_kind(dataset, "features cannot be inputs of a model", field)
            case DatasetKind.TEXT_PAIRS | DatasetKind.TEXTS:
                self.check_texts(model, dataset, field, cut=True)
            case DatasetKind.DOMAINS:
                raise wrong_kind(
                    dataset,
                    "datasets of two domains are for translators; upload the images of one domain as kind images",
                    field,
                )
            case _ if model.metadata.text is not None:
                raise wrong_kind(dataset, "the model takes texts", field)
            case DatasetKind.SIGNALS:
                self._check_signals(model, dataset, field)
            case DatasetKind.TENSORS:
                with self.opened(dataset, field) as opened:
                    assert isinstance(opened, TensorsDataset)
                    opened.matching_inputs(model.varying_inputs)
            case DatasetKind.IMAGES | DatasetKind.DETECTION | DatasetKind.CONCEPTS:
                _check_images(model, dataset, field, otherwise)

    def check_labelled(self, model: Model, dataset: Dataset, field: str, work: str) -> None:
        """Check that a dataset has labels, and that they are classes of the model.

        Args:
            model: A model whose task is in `KIND_OF_TASK`.
            field: The field that references the dataset.
            work: For the error message: what needs labels, such as "the evaluation of object_detection".

        Raises:
            FaceterError: `WRONG_DATASET_KIND`, `DATASET_MISMATCH`.
        """
        task = model.metadata.task
        if not measures_accuracy(task, dataset.kind):
            raise wrong_kind(dataset, f"{work} needs {KIND_OF_TASK[task]}", field)
        if task is Task.OBJECT_DETECTION and model.metadata.detection is None:
            raise mismatch(
                "The model's metadata has no `detection`, so its boxes cannot be compared with those of a dataset.",
                field,
            )
        if not dataset.classes:
            raise mismatch(f"{dataset.id} has no labels, so accuracy cannot be measured on it.", field)
        with self.opened(dataset, field) as opened:
            validate_classes(opened, model.metadata.labels, _class_count(model))

    def units(self, explanation: Explanation) -> list[Unit]:
        """Return an explanation's units."""
        return read_units(self._library.blobs.path(explanation.sha256))

    def has_correctness(self, explanation: Explanation) -> bool:
        """Return whether an explanation stores the label and the predicted class of each sample."""
        masks = read_masks(self._library.blobs.path(file_of(explanation, MASKS).sha256), layers=[])
        return masks.labels is not None and masks.predicted is not None

    def check_texts(self, model: Model, dataset: Dataset, field: str, *, cut: bool = False) -> None:
        """Check that a model takes texts or pairs: by its tokenizer, or pairs by the vocabulary of the dataset.

        Args:
            model: The model.
            dataset: A dataset of kind `texts` or `text_pairs`.
            field: The field of errors.
            cut: Whether pairs that are too long for the vocabulary's model are truncated.

        Raises:
            FaceterError: `DATASET_MISMATCH`.
        """
        pairs = dataset.kind is DatasetKind.TEXT_PAIRS
        if pairs and model.metadata.text is None:
            with self.opened_pairs(dataset, field) as opened:
                opened.matching_inputs(model.inputs, cut=cut)
            return
        with _errors_at(field):
            validate_texts_for(model, pairs=pairs)

    def _check_signals(self, model: Model, dataset: Dataset, field: str) -> None:
        if model.metadata.preprocessing is not None:
            raise wrong_kind(dataset, "the model takes images", field)
        with self.opened(dataset, field) as opened:
            if isinstance(opened, SignalsDataset):
                opened.matching_input(model.varying_inputs)


@contextmanager
def _errors_at(field: str) -> Iterator[None]:
    try:
        yield
    except FaceterError as error:
        raise error.at(field) from error


def _check_images(model: Model, dataset: Dataset, field: str, otherwise: str) -> None:
    if model.metadata.task is Task.SIGNAL_CLASSIFICATION:
        raise wrong_kind(dataset, "the model takes signals", field)
    if model.metadata.preprocessing is None or len(model.varying_inputs) != 1:
        raise mismatch(
            "The model's metadata has no `preprocessing` for its one input, so it is not known how images are "
            f"converted to it. Upload the model again with preprocessing, or {otherwise}.",
            field,
        )


def _class_count(model: Model) -> int | None:
    """Return the number of classes of a model, if its output shape is static."""
    sizes = class_output(model.metadata, model.outputs).shape[1:]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def check_operators(graph: onnx.ModelProto, work: str, field: str | None = None) -> None:
    """Check that torch can run a graph.

    Args:
        graph: A checked model.
        work: For the error message: what does not support the operator, such as "Quantization".
        field: The field that references the model, if any.

    Raises:
        FaceterError: `UNSUPPORTED_OPERATOR`, with all unsupported ones as `operators`.
    """
    operators = unsupported(graph)
    if operators:
        operator, node = operators[0]
        remedy = control_flow_remedy(graph) or "The model can still be used with predict."
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPERATOR,
            f"{work} does not support the operator {operator} (node {node!r}). {remedy}",
            field=field,
            operators=sorted({operator for operator, _ in operators}),
        )
