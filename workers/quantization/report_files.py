"""Files stored beside a quantized model: curves of tuning, and the figure of the trade-off."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from faceter.contracts.base import StoredFile
from faceter.contracts.quantizations import CurvePoint, QuantizationReport
from workers.figures.curves import curves_png
from workers.figures.trade_off import trade_off_png
from workers.files import BlobWriter, store_file

CURVES = "curves.json"
CURVES_IMAGE = "curves.png"
TRADE_OFF_IMAGE = "trade-off.png"


def report_files(
    context: BlobWriter, report: QuantizationReport, curves: Sequence[CurvePoint]
) -> dict[str, StoredFile]:
    """Store the files of a report; return them by name."""
    files: dict[str, StoredFile] = {}
    if curves:
        points = list(curves)
        content = TypeAdapter(list[CurvePoint]).dump_json(points)
        files[CURVES] = store_file(context, content, "application/json")
        files[CURVES_IMAGE] = store_file(context, curves_png(points), "image/png")
    if report.trade_off is not None:
        files[TRADE_OFF_IMAGE] = store_file(context, trade_off_png(report.trade_off), "image/png")
    return files
