"""Keyword arguments of the client's methods: the fields of requests and filters, which the service describes.

Where a field of a request is an id, a resource is taken as well. Tests compare these with the contracts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from faceter.client.calls import Id
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.explanations import DerivedConcept, Operator, Search
from faceter.contracts.jobs import JobKind, JobStatus
from faceter.contracts.metrics import Metric
from faceter.contracts.models import Task
from faceter.contracts.quantizations import Granularity, QuantizationMethod, Target
from faceter.contracts.serving import EngineName, ServingPrecision
from faceter.contracts.translation_methods import Direction, GeneratorKind, TranslationMethod

Shapes = Mapping[str, Sequence[int]]


class QuantizationFields(TypedDict, total=False):
    """Fields of a request to quantize a model; see `faceter.contracts.quantizations.QuantizationRequest`."""

    method: QuantizationMethod | str
    weight_bits: int
    activation_bits: int
    weight_granularity: Granularity | str
    calibration_dataset_id: Id
    evaluation_dataset_id: Id
    max_minutes: float
    max_steps: int
    resume: bool
    target: Target | Mapping[str, float]
    input_shapes: Shapes
    seed: int
    name: str


class ExplanationFields(TypedDict, total=False):
    """Fields of a request to explain units; see `faceter.contracts.explanations.ExplanationRequest`."""

    units: Sequence[int]
    search: Search | str
    max_length: int
    beam_size: int
    quantile: float
    threshold: float
    complexity_penalty: float
    operators: Sequence[Operator | str]
    derived_concepts: Sequence[DerivedConcept | str]
    resolution: Sequence[int]
    cut_sentences: bool
    input_shapes: Shapes
    min_firings: int
    seed: int
    name: str


class EvaluationFields(TypedDict, total=False):
    """Fields of a request to grade samples; see `faceter.contracts.evaluations.EvaluationRequest`."""

    metrics: Sequence[Metric | str]
    k: int | Sequence[int]
    features: FeatureSource | Mapping[str, Any]
    classifier_id: Id
    per_class: bool
    bootstrap: int
    subsample: int
    seed: int
    name: str


class TrainingFields(TypedDict, total=False):
    """Fields of a request to train a translator; see `faceter.contracts.translators.TranslatorTraining`."""

    evaluation_dataset_id: Id
    features: FeatureSource | Mapping[str, Any]
    image_size: int
    base_channels: int
    residual_blocks: int
    generator: GeneratorKind | str
    identity: float
    cycle_weight: float
    l1_weight: float
    direction: Direction | str
    max_minutes: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    serving_precision: ServingPrecision | str
    resume_from_id: Id
    name: str


TrainingMethod = TranslationMethod | Literal["cyclegan", "pix2pix"]
"""A method to train translators."""


class PredictionFields(TypedDict, total=False):
    """Options of a prediction."""

    top_k: int
    score_threshold: float
    raw: bool
    input_shapes: Shapes
    engine: EngineName


class TranslationFields(TypedDict, total=False):
    """Options of a translation."""

    direction: Direction | Literal["a2b", "b2a"]
    checkpoint: Literal["latest"]
    cycle: bool
    scale: int
    tile: int | Literal["never"]
    quality: int
    engine: EngineName


class ModelFilters(TypedDict, total=False):
    """Filter of the list of models."""

    name: str
    task: Task | str
    derived_from_id: Id
    quantized: bool


class DatasetFilters(TypedDict, total=False):
    """Filter of the list of datasets."""

    name: str
    kind: DatasetKind | str
    derived_from_id: Id


class ExplanationFilters(TypedDict, total=False):
    """Filter of the list of explanations."""

    model_id: Id
    dataset_id: Id
    name: str


class EvaluationFilters(TypedDict, total=False):
    """Filter and order of the list of evaluations."""

    reference_id: Id
    generated_id: Id
    name: str
    sort: str


class AnalysisFilters(TypedDict, total=False):
    """Filter of the list of analyses."""

    explanation_id: Id
    kind: str


class TranslatorFilters(TypedDict, total=False):
    """Filter of the list of translators."""

    name: str
    method: TranslationMethod | str
    model_id: Id


class JobFilters(TypedDict, total=False):
    """Filter of the list of jobs."""

    status: JobStatus | str
    kind: JobKind | str
    model_id: Id
    dataset_id: Id


class UnitFilters(TypedDict, total=False):
    """Filter and order of the units of an explanation."""

    layer: str
    concept: str
    formula: str
    min_score: float
    sort: str


class UnitSearchFilters(TypedDict, total=False):
    """Filter of the units of a model."""

    layer: str
    concept: str
    formula: str
    min_score: float
