"""Datasets of features over HTTP: upload, list, download; they cannot be inputs of a model."""

import httpx
import numpy as np
import pytest

from faceter.contracts.errors import ProblemKind
from tests.app.http.routes.test_quantizations import ask
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset, add_model, npz, post_dataset

FEATURES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def test_upload_list_and_download(api: httpx.Client) -> None:
    content = npz(features=FEATURES, labels=np.arange(12) % 2)
    dataset = add_dataset(api, content, "features", name="real")
    assert (dataset["kind"], dataset["samples"], dataset["bytes"]) == ("features", 12, len(content))
    assert dataset["class_counts"] == {"0": 6, "1": 6}
    assert [item["id"] for item in api.get("/v1/datasets?kind=features").json()["items"]] == [dataset["id"]]
    response = api.get(dataset["links"]["content"])
    assert response.content == content
    assert 'filename="real.npz"' in response.headers["content-disposition"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npz(signals=FEATURES), "no array 'features', only 'signals'"),
        (npz(features=FEATURES[:, :, None]), "[N, D], a row for each sample"),
        (npz(features=np.full((3, 2), np.nan, np.float32)), "features[0, 0] is nan"),
    ],
)
def test_invalid_requests(api: httpx.Client, content: bytes, words: str) -> None:
    document = problem(post_dataset(api, content, "features"), ProblemKind.INVALID_DATASET)
    assert words in document.detail
    assert api.get("/v1/datasets").json()["items"] == []


@pytest.mark.parametrize("field", ["calibration_dataset_id", "evaluation_dataset_id"])
def test_features_cannot_be_inputs_of_a_model(api: httpx.Client, field: str) -> None:
    model = add_model(api)
    dataset = add_dataset(api, npz(features=FEATURES), "features")["id"]
    document = problem(ask(api, model, **{field: dataset}), ProblemKind.WRONG_DATASET_KIND)
    assert "is of kind features; features cannot be inputs of a model. Choose another." in document.detail
    assert [error.field for error in document.errors] == [field]
