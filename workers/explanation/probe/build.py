"""From a dataset to a probe dataset. To support another kind of dataset, add a file and a case here."""

from __future__ import annotations

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.reader import DatasetReader
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from faceter.datasets.tokenized import validate_texts_for
from workers.explanation.probe.dataset import ProbeDataset
from workers.explanation.probe.images import ImageProbeDataset
from workers.explanation.probe.signals import SignalProbeDataset
from workers.explanation.probe.text_pairs import TextPairProbeDataset
from workers.explanation.probe.tokenized import TokenizedProbeDataset


def build_probe_dataset(
    data: DatasetReader, kind: DatasetKind, model: Model, request: ExplanationRequest
) -> ProbeDataset:
    """Return a dataset as a probe dataset for a model.

    Args:
        data: The dataset; one of texts has the model's tokenizer, see `use_tokenizer_of`.
        kind: Its kind.
        model: The model to run on it.
        request: Settings of the explanation.

    Raises:
        FaceterError: ``WRONG_DATASET_KIND``, ``DATASET_MISMATCH``.
    """
    if isinstance(data, ConceptsDataset):
        return ImageProbeDataset(data, model, request)
    if isinstance(data, SignalsDataset):
        return SignalProbeDataset(data, model, request)
    if isinstance(data, TextsDataset | TextPairsDataset) and data.token_source is not None:
        return TokenizedProbeDataset(data, data.token_source, model)
    if isinstance(data, TextPairsDataset):
        return TextPairProbeDataset(data, model, request)
    if isinstance(data, TextsDataset):
        validate_texts_for(model, pairs=False)
    raise FaceterError(
        ProblemKind.WRONG_DATASET_KIND,
        f"A dataset of kind {kind} has no concepts. Give one of kind concepts, signals, texts or text_pairs.",
        field="dataset_id",
    )
