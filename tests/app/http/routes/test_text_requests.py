"""Requests for jobs on text models: what fits is queued, the rest refused before."""

from typing import Any

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from tests.app.dataset_archives import text_pairs
from tests.app.http.routes.test_text_models import CLASSIFIER, EMBEDDER, LABELS, ROWS, add
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset, add_model, images, post_dataset
from tests.text.graphs import token_model

TEXTS = b'{"text": "a dog runs", "label": "animal"}\n{"text": "it rains", "label": "weather"}'
PAIR_CLASSIFIER = {**CLASSIFIER, "task": "text_pair_classification"}
CONTENT = token_model(ROWS, outputs=("logits", "hidden", "tokens"))

MISMATCH, KIND, INVALID = (
    ProblemKind.DATASET_MISMATCH,
    ProblemKind.WRONG_DATASET_KIND,
    ProblemKind.INVALID_REQUEST,
)


def texts(api: httpx.Client, content: bytes = TEXTS) -> str:
    return str(add_dataset(api, content, "texts")["id"])


def pairs(api: httpx.Client, label: str = "animal") -> str:
    return str(add_dataset(api, text_pairs(label=label), "text_pairs")["id"])


def request(api: httpx.Client, model: Any, job: str, **body: Any) -> httpx.Response:
    return api.post(f"/v1/models/{model['id']}/{job}", json=body)


def test_texts_are_a_dataset(api: httpx.Client) -> None:
    dataset = add_dataset(api, TEXTS, "texts", name="t")
    assert (dataset["kind"], dataset["samples"]) == ("texts", 2)
    assert dataset["class_counts"] == {"animal": 1, "weather": 1}
    download = api.get(dataset["links"]["content"])
    assert download.content == TEXTS
    assert 'filename="t.txt"' in download.headers["content-disposition"]
    assert download.headers["content-type"].startswith("application/octet-stream")


def test_a_dataset_of_another_form_is_refused(api: httpx.Client) -> None:
    document = problem(post_dataset(api, b"dog,cat\n", "texts"), ProblemKind.INVALID_DATASET)
    assert "must name the columns" in document.detail
    assert [error.field for error in document.errors] == ["file"]


@pytest.mark.parametrize("field", ["calibration_dataset_id", "evaluation_dataset_id"])
@pytest.mark.parametrize(("metadata", "kind"), [(CLASSIFIER, "texts"), (PAIR_CLASSIFIER, "text_pairs")])
def test_quantizations_take_texts_and_pairs(api: httpx.Client, metadata: dict[str, Any], kind: str, field: str) -> None:
    dataset = texts(api) if kind == "texts" else pairs(api, "weather")
    labels = LABELS if kind == "texts" else [*LABELS, "contradiction"]
    content = token_model(ROWS, classes=len(labels))
    response = request(
        api, add(api, {**metadata, "labels": labels}, content), "quantizations", method="rq", **{field: dataset}
    )
    assert response.status_code == 202, response.text


@pytest.mark.parametrize(
    ("metadata", "dataset", "kind", "words"),
    [
        (EMBEDDER | {"output": "hidden"}, "pairs", MISMATCH, "takes single texts. Give a dataset of kind texts"),
        (PAIR_CLASSIFIER, "texts", MISMATCH, "which takes pairs. Give a dataset of kind text_pairs"),
        (CLASSIFIER, "images", KIND, "the model takes texts"),
        (CLASSIFIER, "other texts", MISMATCH, "no labels of the model: 'sport'"),
        (CLASSIFIER, "plain texts", MISMATCH, "has no labels, so accuracy cannot be measured"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(
    api: httpx.Client, metadata: dict[str, Any], dataset: str, kind: ProblemKind, words: str
) -> None:
    made = {
        "texts": lambda: texts(api),
        "pairs": lambda: pairs(api),
        "images": lambda: str(add_dataset(api, images(LABELS), "images")["id"]),
        "other texts": lambda: texts(api, TEXTS.replace(b"weather", b"sport")),
        "plain texts": lambda: texts(api, b"text\na dog\n"),
    }[dataset]()
    response = request(api, add(api, metadata, CONTENT), "quantizations", method="rq", evaluation_dataset_id=made)
    document = problem(response, kind)
    assert words in document.detail
    assert [error.field for error in document.errors] == ["evaluation_dataset_id"]


@pytest.mark.parametrize("job", ["quantizations", "explanations"])
def test_texts_to_a_model_without_tokenizer_are_refused(api: httpx.Client, job: str) -> None:
    model = add_model(api, CONTENT, metadata=CLASSIFIER)
    body = (
        {"dataset_id": texts(api), "layer": "hidden"}
        if job == "explanations"
        else {"calibration_dataset_id": texts(api)}
    )
    document = problem(request(api, model, job, **body), MISMATCH)
    assert "Upload it again with its tokenizer.json" in document.detail
    assert document.errors[0].field in ("dataset_id", "calibration_dataset_id")


@pytest.mark.parametrize("layer", ["hidden", "tokens"])
def test_units_of_texts_and_of_tokens_are_explained(api: httpx.Client, layer: str) -> None:
    response = request(api, add(api, content=CONTENT), "explanations", dataset_id=texts(api), layer=layer)
    assert response.status_code == 202, response.text
    response = request(api, add(api, PAIR_CLASSIFIER, CONTENT), "explanations", dataset_id=pairs(api), layer=layer)
    problem(response, MISMATCH)  # the pairs have a label that the model does not know


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"units": [6]}, "units.0", "has 6 units"),
        ({"operators": ["or", "neighbors"]}, "operators", "`neighbors` is for models without a tokenizer"),
        ({"layer": "tockens"}, "layer", "no tensor 'tockens'. Similar names: 'tokens'"),
        ({"derived_concepts": ["color"]}, "derived_concepts.0", "holds text"),
    ],
)
def test_explanations_that_do_not_fit_are_refused(
    api: httpx.Client, options: dict[str, Any], field: str, words: str
) -> None:
    body = {"dataset_id": texts(api), "layer": "tokens", **options}
    response = request(api, add(api, content=CONTENT), "explanations", **body)
    document = problem(response, INVALID)
    assert words in document.detail
    assert [error.field for error in document.errors] == [field]
