"""FastAPI dependencies of the routes: the core and the services."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from app.services.analyses.service import AnalysisService
from app.services.core import Core, Service
from app.services.datasets.service import DatasetService
from app.services.evaluations.service import EvaluationService
from app.services.explanations.service import ExplanationService
from app.services.inference_protocol.service import InferenceProtocolService
from app.services.jobs.service import JobService
from app.services.models.service import ModelService
from app.services.predictions.service import PredictionService
from app.services.quantizations.service import QuantizationService
from app.services.translators.service import TranslatorService
from app.services.translators.translation import TranslationService

S = TypeVar("S", bound=Service)


def core_of(request: Request) -> Core:
    """Return the core of the application of a request."""
    core: Core = request.app.state.core
    return core


async def _core(request: Request) -> Core:
    return core_of(request)


def service(type_: type[S]) -> Callable[[Request], Awaitable[S]]:
    """Return the dependency that provides a service.

    It is a coroutine, since FastAPI runs other dependencies in a thread, which takes longer than most requests.
    """

    async def provide(request: Request) -> S:
        return core_of(request).service(type_)

    return provide


AppCore = Annotated[Core, Depends(_core)]
Models = Annotated[ModelService, Depends(service(ModelService))]
Datasets = Annotated[DatasetService, Depends(service(DatasetService))]
Quantizations = Annotated[QuantizationService, Depends(service(QuantizationService))]
Evaluations = Annotated[EvaluationService, Depends(service(EvaluationService))]
Explanations = Annotated[ExplanationService, Depends(service(ExplanationService))]
Analyses = Annotated[AnalysisService, Depends(service(AnalysisService))]
Translators = Annotated[TranslatorService, Depends(service(TranslatorService))]
Translation = Annotated[TranslationService, Depends(service(TranslationService))]
Predictions = Annotated[PredictionService, Depends(service(PredictionService))]
InferenceProtocol = Annotated[InferenceProtocolService, Depends(service(InferenceProtocolService))]
Jobs = Annotated[JobService, Depends(service(JobService))]
