"""One function per kind of job, called by its dotted name; the kind is the function's name.

Each takes a `Specification` and returns a `JobResult`, both as JSON values. Imports are inside the functions, so that a
job loads only what it needs.
"""

from typing import Any

from faceter.contracts.jobs import AnalysisJob, EvaluationJob, ExplanationJob, QuantizationJob, TranslationJob
from workers.jobs.context import run_task


def quantization(specification: dict[str, Any]) -> dict[str, Any]:
    """Quantize a model."""
    from workers.quantization.pipeline import quantize_model

    return run_task(QuantizationJob, quantize_model, specification)


def evaluation(specification: dict[str, Any]) -> dict[str, Any]:
    """Evaluate generated samples."""
    from workers.evaluation.pipeline import evaluate

    return run_task(EvaluationJob, evaluate, specification)


def explanation(specification: dict[str, Any]) -> dict[str, Any]:
    """Explain units of a model."""
    from workers.explanation.pipeline import explain

    return run_task(ExplanationJob, explain, specification)


def analysis(specification: dict[str, Any]) -> dict[str, Any]:
    """Analyse an explanation."""
    from workers.explanation.analyses.pipeline import analyse

    return run_task(AnalysisJob, analyse, specification)


def translation(specification: dict[str, Any]) -> dict[str, Any]:
    """Train a translator."""
    from workers.translation.pipeline import train

    return run_task(TranslationJob, train, specification)
