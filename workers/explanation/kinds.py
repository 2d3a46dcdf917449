"""Which kinds of dataset units can be explained by: a new kind is one file and one line here."""

from __future__ import annotations

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import AnyDataset
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from workers.explanation.images import ImageSamples
from workers.explanation.samples import Samples
from workers.explanation.signals import SignalSamples
from workers.explanation.texts import TextSamples


def samples_of(data: AnyDataset, kind: DatasetKind, model: Model, request: ExplanationRequest) -> Samples:
    """Return a dataset's samples for a model.

    Raises:
        FaceterError: ``WRONG_DATASET_KIND``, ``DATASET_MISMATCH``.
    """
    if isinstance(data, ConceptsDataset):
        return ImageSamples(data, model, request)
    if isinstance(data, SignalsDataset):
        return SignalSamples(data, model, request)
    if isinstance(data, TextPairsDataset):
        return TextSamples(data, model, request)
    raise FaceterError(
        ProblemKind.WRONG_DATASET_KIND,
        f"A dataset of kind {kind} has no concepts. Give one of kind concepts, signals or text_pairs.",
        field="dataset_id",
    )
