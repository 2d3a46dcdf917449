"""Results in notebooks: nothing of a user or of the service becomes markup."""

import sys
from typing import Any

import numpy as np
import pytest

from faceter.client import html
from faceter.client.html_images import image_with_boxes
from faceter.client.synchronous.models import ReceivedPrediction
from faceter.contracts.analyses import Analysis
from faceter.contracts.base import new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.contracts.predictions import Classification, Detection, RecognizedText, ScoredLabel
from tests.app.evaluation_records import make_evaluation
from tests.app.explanation_records import make_explanation, unit
from tests.app.uploads import image

_EVIL = "<script>alert(1)</script>"


def _prediction(**fields: Any) -> str:
    return ReceivedPrediction(model_id="m", milliseconds=1.0, **fields)._repr_html_()


def test_every_text_of_a_model_and_a_dataset_is_escaped() -> None:
    common: dict[str, Any] = {"created_at": utc_now(), "sha256": "0" * 64, "bytes": 1234567, "name": _EVIL}
    spec = TensorSpec(name=_EVIL, dtype="float32", shape=[_EVIL, None, 3])
    model = Model(
        id=_EVIL,
        metadata=ModelMetadata(),
        inputs=[spec],
        outputs=[spec],
        opset=20,
        parameters=12345,
        warnings=[_EVIL],
        **common,
    )
    dataset = Dataset(
        id=new_id("dts"), kind=DatasetKind.IMAGES, samples=2, classes=[_EVIL, "dog"], warnings=[_EVIL], **common
    )
    for shown in (html.model_html(model), html.dataset_html(dataset)):
        assert _EVIL not in shown
        assert shown.count("&lt;script&gt;") >= 3
    assert "1,234,567" in html.model_html(model)


def test_an_evaluation_and_an_explanation_are_tables() -> None:
    shown = html.evaluation_html(make_evaluation(name=_EVIL))
    assert "<th>expected</th>" in shown
    assert _EVIL not in shown
    assert "IoU" in html.explanation_html(make_explanation([unit(0, "car")]))


def test_predictions_of_each_kind() -> None:
    label = ScoredLabel(index=0, label=_EVIL, score=0.75)
    classes = [Classification(**label.model_dump(), top=[label, label])]
    boxes = [[Detection(index=0, label=_EVIL, score=0.5, box=[1, 2, 3, 4])], []]
    texts = [RecognizedText(text=_EVIL, score=0.5)]
    for shown in (_prediction(predictions=classes), _prediction(detections=boxes), _prediction(texts=texts)):
        assert "&lt;script&gt;" in shown
        assert _EVIL not in shown
    assert "1, 2, 3, 4" in _prediction(detections=boxes)
    assert "(2, 3)" in _prediction(outputs={"y": np.zeros((2, 3))})
    assert "<td>2</td><td>3</td>" in _prediction(embeddings=[[1.0, 2.0, 3.0]] * 2)
    many = _prediction(texts=texts * 50)
    assert many.count("<tr>") == 22
    assert "and 30 more" in many


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "yes"), (False, "no"), (0.123456, "0.1235"), (12345, "12,345"), ("a", "a")]
)
def test_values_are_written_for_readers(value: object, text: str) -> None:
    assert html.table((), [(value,)]) == f"<table><tr><td>{text}</td></tr></table>"


def test_an_analysis_shows_its_single_values() -> None:
    analysis = Analysis.model_validate(
        {
            "id": "anl_1",
            "explanation_id": "exp_1",
            "created_at": utc_now(),
            "sha256": "0" * 64,
            "bytes": 1,
            "seconds": 1.0,
            "settings": {"kind": "interpretability"},
            "result": {"kind": "interpretability", "of": "recall", "overall": 0.5, "correlations": [], "units": []},
        }
    )
    assert "<td>overall</td><td>0.5</td>" in html.analysis_html(analysis)


def test_boxes_are_drawn_on_the_image_that_was_sent() -> None:
    box = Detection(index=0, label=_EVIL, score=0.5, box=[1, 2, 9, 6])
    shown = image_with_boxes(image(0, (12, 10)), [box])
    assert 'viewBox="0 0 12 10"' in shown
    assert 'x="1.0" y="2.0" width="8.0" height="4.0"' in shown
    assert "data:image/png;base64," in shown
    assert "&lt;script&gt;" in shown
    assert image_with_boxes(b"no image", [box]) == ""


def test_without_pillow_a_prediction_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    content = image()
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert image_with_boxes(content, []) == ""
