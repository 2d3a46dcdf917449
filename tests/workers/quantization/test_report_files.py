"""Files stored beside a quantized model: curves and the trade-off, as figures."""

import io
import json
from typing import Any

from PIL import Image

from faceter.contracts.quantizations import CurvePoint, QuantizationReport, TradeOff, TradeOffPoint
from faceter.store.library import Library
from workers.quantization.report_files import report_files


def test_curves_are_stored_as_json_and_as_a_figure(library: Library) -> None:
    points = (
        CurvePoint(step=1, seconds=0.5, phase="synthesis", losses={"statistics": 2.0}),
        CurvePoint(step=9, seconds=3.5, phase="tuning", losses={"outputs": 0.5}, agreement=0.75),
    )
    files = report_files(library, plain_report(), points)
    assert set(files) == {"curves.json", "curves.png"}
    assert [files[name].media_type for name in ("curves.json", "curves.png")] == ["application/json", "image/png"]
    text = library.blobs.read(files["curves.json"].sha256)
    assert [CurvePoint.model_validate(item) for item in json.loads(text)] == list(points)
    assert Image.open(io.BytesIO(library.blobs.read(files["curves.png"].sha256))).size[0] > 100


def test_a_network_that_was_not_tuned_has_no_files(library: Library) -> None:
    assert report_files(library, plain_report(), ()) == {}


def incomplete(**fields: object) -> QuantizationReport:
    """Return a report with these fields alone."""
    construct: Any = QuantizationReport.model_construct
    report: QuantizationReport = construct(**fields)
    return report


def plain_report() -> QuantizationReport:
    return incomplete(trade_off=None)


def test_a_trade_off_is_stored_as_a_figure(library: Library) -> None:
    points = [
        TradeOffPoint(weight_bytes=size, sensitivity=1 / size, bits={"w": 4}, measured=0.9) for size in (10, 20, 30)
    ]
    trade_off = TradeOff(measure="agreement", original=1.0, points=points, chosen=1, met=True)
    files = report_files(library, incomplete(trade_off=trade_off), ())
    assert set(files) == {"trade-off.png"}
