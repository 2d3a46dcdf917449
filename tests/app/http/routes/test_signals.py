"""Signals over HTTP: upload, use in quantizations, and prediction from JSON."""

from typing import Any

import httpx
import numpy as np
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.datasets.signals import signals_file
from tests.app.http.routes.test_quantizations import Watch, ask, signal_classifier
from tests.app.http.test_problems import problem
from tests.app.uploads import LABELS as CLASSES
from tests.app.uploads import add_dataset, add_model, images, npz, post_dataset

SIGNALS = np.random.default_rng(0).normal(size=(12, 1, 64)).astype(np.float32)
LABELS = np.arange(12) % 2
NAMES = ["calm", "lively"]
METADATA: dict[str, Any] = {"task": "signal_classification", "labels": NAMES}


@pytest.fixture
def signals(api: httpx.Client) -> str:
    """Id of a labelled dataset of signals [1, 64]."""
    dataset: str = add_dataset(api, signals_file(SIGNALS, LABELS, NAMES), "signals")["id"]
    return dataset


def test_upload_list_and_download(api: httpx.Client) -> None:
    content = npz(signals=SIGNALS, labels=LABELS, rate=np.array(100))
    dataset = add_dataset(api, content, "signals", name="beats")
    assert (dataset["kind"], dataset["samples"], dataset["bytes"]) == ("signals", 12, len(content))
    assert dataset["class_counts"] == {"0": 6, "1": 6}
    assert dataset["warnings"] == ["ignored, unknown: 'rate'"]
    assert [item["id"] for item in api.get("/v1/datasets?kind=signals").json()["items"]] == [dataset["id"]]
    response = api.get(dataset["links"]["content"])
    assert response.content == content
    assert 'filename="beats.npz"' in response.headers["content-disposition"]


def test_names_of_classes(api: httpx.Client) -> None:
    dataset = add_dataset(api, signals_file(SIGNALS, LABELS, [*NAMES, "wild"]), "signals")
    assert dataset["classes"] == [*NAMES, "wild"]
    assert dataset["class_counts"] == {"calm": 6, "lively": 6, "wild": 0}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"no npz", "not an .npz"),
        (images(["cat"]), "only other files"),
        (npz(signals=SIGNALS[:, 0]), "[N, channels, length]"),
        (npz(signals=np.where(np.arange(64) == 5, np.nan, SIGNALS)), "signals[0, 0, 5] is nan"),
        (npz(signals=SIGNALS, labels=LABELS.astype(object)), "Python objects"),
    ],
)
def test_invalid_uploads_are_refused_and_not_stored(
    api: httpx.Client, unchanged: Watch, content: bytes, words: str
) -> None:
    with unchanged():
        document = problem(post_dataset(api, content, "signals"), ProblemKind.INVALID_DATASET)
    assert words in document.detail
    assert [error.field for error in document.errors] == ["file"]


def test_the_openapi_page_describes_the_file(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    form = document["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    words = form["properties"]["kind"]["description"]
    for word in ("`.npz`", "`signals` [N, channels, length]", "`labels`", "`classes`", "`concepts`", "`concept_names`"):
        assert word in words


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
def test_signals_for_images_and_images_for_signals(api: httpx.Client, signals: str, use: str) -> None:
    document = problem(ask(api, add_model(api), **{use: signals}), ProblemKind.WRONG_DATASET_KIND)
    assert "images" in document.detail
    assert [error.field for error in document.errors] == [use]
    other = add_model(api, metadata=None)
    document = problem(ask(api, other, **{use: signals}), ProblemKind.DATASET_MISMATCH)
    assert "[N, 1, 64]" in document.detail
    assert [error.field for error in document.errors] == [use]
    model = add_model(api, signal_classifier(64), metadata=METADATA)
    image_dataset = add_dataset(api, images(CLASSES))["id"]
    assert "signals" in problem(ask(api, model, **{use: image_dataset}), ProblemKind.WRONG_DATASET_KIND).detail


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
def test_signals_that_fit_and_signals_that_do_not(api: httpx.Client, unchanged: Watch, signals: str, use: str) -> None:
    for length in (64, "length"):
        model = add_model(api, signal_classifier(length), metadata=METADATA)
        assert ask(api, model, method="rq", **{use: signals}).status_code == 202
    model = add_model(api, signal_classifier(65), metadata=METADATA)
    with unchanged():
        document = problem(ask(api, model, method="rq", **{use: signals}), ProblemKind.DATASET_MISMATCH)
    assert "[1, 64]" in document.detail
    assert "[batch, 1, 65]" in document.detail
    assert [error.field for error in document.errors] == [use]


def test_fine_tuning_on_signals(api: httpx.Client, signals: str) -> None:
    model = add_model(api, signal_classifier(64), metadata=METADATA)
    assert ask(api, model, method="ft", calibration_dataset_id=signals).status_code == 202


def test_classes_that_do_not_fit(api: httpx.Client, unchanged: Watch, signals: str) -> None:
    plain = add_dataset(api, signals_file(SIGNALS), "signals")["id"]
    three = add_dataset(api, signals_file(SIGNALS, np.arange(12) % 3), "signals")["id"]
    one = add_dataset(api, signals_file(SIGNALS, [0] * 12), "signals")["id"]
    others = add_model(api, signal_classifier(64), metadata={**METADATA, "labels": ["calm", "wild"]})
    unnamed = add_model(api, signal_classifier(64), metadata={"task": "signal_classification"})
    with unchanged():
        for model, dataset, words in [
            (others, signals, "'lively'"),
            (others, three, "'2'"),
            (unnamed, three, "3 classes and the model 2"),
            (unnamed, plain, "no labels"),
        ]:
            response = ask(api, model, method="rq", evaluation_dataset_id=dataset)
            document = problem(response, ProblemKind.DATASET_MISMATCH)
            assert words in document.detail
            assert [error.field for error in document.errors] == ["evaluation_dataset_id"]
    assert ask(api, unnamed, method="rq", evaluation_dataset_id=one).status_code == 202
    assert ask(api, unnamed, method="rq", calibration_dataset_id=plain).status_code == 202


def test_a_task_without_accuracy_takes_any_signals_to_show_agreement(api: httpx.Client) -> None:
    model = add_model(api, signal_classifier(64), metadata=None)
    plain = add_dataset(api, signals_file(SIGNALS), "signals")["id"]
    assert ask(api, model, method="rq", evaluation_dataset_id=plain).status_code == 202


def test_predict_names_the_classes_of_signals(api: httpx.Client) -> None:
    model = add_model(api, signal_classifier(64), metadata=METADATA)
    address = f"/v1/models/{model['id']}/predict"
    answer = api.post(address, params={"raw": True}, json={"inputs": {"signal": SIGNALS.tolist()}}).json()
    logits = np.array(answer["outputs"]["logits"])
    assert logits.shape == (12, 2)
    assert len(answer["predictions"]) == 12
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    for row, prediction in enumerate(answer["predictions"]):
        named = {found["label"]: found["score"] for found in prediction["top"]}
        assert named == pytest.approx(dict(zip(NAMES, scores[row], strict=True)), abs=1e-6)
        assert [found["score"] for found in prediction["top"]] == sorted(named.values(), reverse=True)
    wrong = api.post(address, json={"inputs": {"signal": SIGNALS[:, :, :63].tolist()}})
    assert "inputs.signal" in [error.field for error in problem(wrong, ProblemKind.INVALID_INPUT).errors]
