"""Results as HTML, for notebooks; everything from users and the service is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from faceter.client.html_images import MOST_IMAGES, image_with_boxes
from faceter.client.progress import described
from faceter.contracts.analyses import Analysis
from faceter.contracts.datasets import Dataset
from faceter.contracts.evaluations import Evaluation
from faceter.contracts.explanations import Explanation
from faceter.contracts.jobs import Job
from faceter.contracts.models import Model, shape_text
from faceter.contracts.predictions import Prediction
from faceter.contracts.quantizations import QuantizationReport
from faceter.contracts.translators import Translator

_MOST_ROWS = 20


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; the head may be empty."""
    top = "<tr>" + "".join(f"<th>{escape(str(cell))}</th>" for cell in head) + "</tr>" if head else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _titled(kind: str, name: str, id: str, *parts: str) -> str:
    return f"<b>{escape(kind)} {escape(name)}</b> <code>{escape(id)}</code>" + "".join(parts)


def _warnings(warnings: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in warnings) + "</ul>" if warnings else ""


def model_html(model: Model) -> str:
    """Return a model, and for a quantized one its report."""
    rows: list[tuple[str, object]] = [
        ("task", model.metadata.task.value),
        ("inputs", "; ".join(f"{spec.name} {spec.dtype} {shape_text(spec.shape)}" for spec in model.inputs)),
        ("outputs", "; ".join(f"{spec.name} {spec.dtype} {shape_text(spec.shape)}" for spec in model.outputs)),
        ("parameters", model.parameters),
        ("bytes", model.bytes),
    ]
    report = "" if model.quantization is None else _report(model.quantization)
    return _titled("Model", model.name, model.id, table((), rows), report, _warnings(model.warnings))


def _report(report: QuantizationReport) -> str:
    settings, agreement = report.settings, report.agreement
    rows: list[tuple[object, ...]] = [
        ("file, bytes", report.size.before, report.size.packed),
        ("weights, bytes", report.size.weights_before, report.size.weights_packed),
        *((quality.metric, quality.before, quality.after) for quality in report.quality),
        *((f"latency, batch of {item.batch}, ms", item.before_ms, item.after_ms) for item in report.latency),
    ]
    known = {"first class": agreement.top1, "boxes": agreement.boxes, "cosine": agreement.cosine}
    agreed = ", ".join(f"{name} {value:.4g}" for name, value in known.items() if value is not None)
    bits = f"{settings.method.value}, W{settings.weight_bits}A{settings.activation_bits}"
    rows.append((f"agreement on {agreement.samples:,} inputs ({agreement.source})", "", agreed))
    return table((bits, "before", "after"), rows) + _warnings(report.warnings)


def dataset_html(dataset: Dataset) -> str:
    """Return a dataset."""
    rows: list[tuple[str, object]] = [
        ("kind", dataset.kind.value),
        ("samples", dataset.samples),
        ("classes", ", ".join(dataset.classes[:_MOST_ROWS])),
        ("bytes", dataset.bytes),
    ]
    return _titled("Dataset", dataset.name, dataset.id, table((), rows), _warnings(dataset.warnings))


def explanation_html(explanation: Explanation) -> str:
    """Return the summary of each layer of an explanation."""
    rows = [
        (
            layer.layer,
            f"{layer.explained:,} of {layer.units:,}",
            None if layer.iou is None else layer.iou.mean,
            layer.mean_ceiling,
            ", ".join(use.concept for use in layer.most_used[:5]),
        )
        for layer in explanation.layers
    ]
    layers = table(("layer", "units explained", "mean IoU", "mean ceiling", "most used concepts"), rows)
    return _titled("Explanation", explanation.name, explanation.id, layers, _warnings(explanation.warnings))


def evaluation_html(evaluation: Evaluation) -> str:
    """Return the metrics of an evaluation."""
    rows = [
        (
            metric.value,
            result.value,
            result.expected,
            "" if result.interval is None else f"{result.interval[0]:.4g} to {result.interval[1]:.4g}",
            result.meaning,
        )
        for metric, result in evaluation.metrics.items()
    ]
    metrics = table(("metric", "value", "expected", "95 % interval", "meaning"), rows)
    size = (
        f"<p>{evaluation.generated_samples:,} generated against {evaluation.reference_samples:,} real samples, "
        f"k = {evaluation.k}</p>"
    )
    return _titled("Evaluation", evaluation.name, evaluation.id, size, metrics, _warnings(evaluation.warnings))


def analysis_html(analysis: Analysis) -> str:
    """Return the values of an analysis that are no lists."""
    values: Mapping[str, Any] = analysis.result.model_dump(mode="json", exclude={"kind"})
    rows = [(name, value) for name, value in values.items() if not isinstance(value, (list, dict))]
    return _titled("Analysis", analysis.result.kind, analysis.id, table((), rows), _warnings(analysis.warnings))


def translator_html(translator: Translator) -> str:
    """Return a translator with its evaluation."""
    rows: list[tuple[object, ...]] = [
        (direction.value, result.images, *(result.metrics.get(name) for name in ("density", "coverage", "fid")))
        for direction, result in translator.evaluation.items()
    ]
    training = translator.training
    how = "uploaded generators" if training is None else f"{training.method.value}, {training.steps:,} steps"
    parts = [f"<p>{escape(how)}; {escape(', '.join(translator.model_ids))}</p>"]
    if rows:
        parts.append(table(("direction", "images", "density", "coverage", "fid"), rows))
    return _titled("Translator", translator.name, translator.id, *parts, _warnings(translator.warnings))


def job_html(job: Job) -> str:
    """Return the state of a job."""
    state = job.status.value
    if job.progress is not None and not job.status.ended:
        state += f", {job.progress.fraction:.0%}: {described(job.progress)}"
    error = "" if job.error is None else f"<p>{escape(job.error.detail)}</p>"
    return _titled("Job", job.kind.value, job.id, f"<p>{escape(state)}</p>", error)


def prediction_html(prediction: Prediction, images: Sequence[bytes] = ()) -> str:
    """Return the first images of a prediction with their boxes, and its classes, boxes, texts or shapes.

    Args:
        prediction: The prediction.
        images: The image files that it is about; none for other inputs.
    """
    boxes = prediction.detections or [[]] * len(images)
    return "".join(map(image_with_boxes, images[:MOST_IMAGES], boxes)) + _prediction_table(prediction)


def _prediction_table(prediction: Prediction) -> str:
    if prediction.predictions is not None:
        rows: list[tuple[object, ...]] = [
            (number, item.label, item.score, ", ".join(f"{top.label} {top.score:.2f}" for top in item.top[1:3]))
            for number, item in enumerate(prediction.predictions)
        ]
        return table(("input", "class", "score", "next"), _first(rows))
    if prediction.detections is not None:
        rows = [
            (number, box.label, box.score, ", ".join(f"{side:.0f}" for side in box.box))
            for number, boxes in enumerate(prediction.detections)
            for box in boxes
        ]
        return table(("image", "class", "score", "left, top, right, bottom"), _first(rows))
    if prediction.texts is not None:
        rows = [(number, item.text, item.score) for number, item in enumerate(prediction.texts)]
        return table(("image", "text", "score"), _first(rows))
    if prediction.embeddings is not None:
        return table(("embeddings", "size"), [(len(prediction.embeddings), len(prediction.embeddings[0]))])
    rows = [(name, str(getattr(value, "shape", type(value).__name__))) for name, value in _items(prediction.outputs)]
    return table(("output", "shape"), _first(rows))


def _first(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    more = len(rows) - _MOST_ROWS
    return rows if more <= 0 else [*rows[:_MOST_ROWS], (f"and {more:,} more",)]


def _items(outputs: dict[str, Any] | None) -> list[tuple[str, Any]]:
    return list((outputs or {}).items())
