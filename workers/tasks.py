"""One function per kind of job, called by its dotted name; the kind is the function's name."""

from typing import Any

from faceter.contracts.jobs import AnalysisJob, EvaluationJob, ExplanationJob, QuantizationJob, TranslationJob
from workers.jobs.context import run_task


def quantization(specification: dict[str, Any]) -> dict[str, Any]:
    """Quantize a model.

    Args:
        specification: A `QuantizationJob` as JSON values.

    Returns:
        A `JobResult` as JSON values.
    """
    from workers.quantization.pipeline import quantize_model

    return run_task(QuantizationJob, quantize_model, specification)


def evaluation(specification: dict[str, Any]) -> dict[str, Any]:
    """Grade generated samples.

    Args:
        specification: An `EvaluationJob` as JSON values.

    Returns:
        A `JobResult` as JSON values.
    """
    from workers.evaluation.pipeline import evaluate

    return run_task(EvaluationJob, evaluate, specification)


def explanation(specification: dict[str, Any]) -> dict[str, Any]:
    """Say what units of a model detect.

    Args:
        specification: An `ExplanationJob` as JSON values.

    Returns:
        A `JobResult` as JSON values.
    """
    from workers.explanation.pipeline import explain

    return run_task(ExplanationJob, explain, specification)


def analysis(specification: dict[str, Any]) -> dict[str, Any]:
    """Analyse an explanation.

    Args:
        specification: An `AnalysisJob` as JSON values.

    Returns:
        A `JobResult` as JSON values.
    """
    from workers.explanation.analyses.pipeline import analyse

    return run_task(AnalysisJob, analyse, specification)


def translation(specification: dict[str, Any]) -> dict[str, Any]:
    """Train a translator.

    Args:
        specification: A `TranslationJob` as JSON values.

    Returns:
        A `JobResult` as JSON values.
    """
    from workers.translation.pipeline import train

    return run_task(TranslationJob, train, specification)
