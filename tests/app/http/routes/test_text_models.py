"""Models with a tokenizer: uploaded, and asked with texts."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np
import pytest
import tokenizers
from onnx import TensorProto

from faceter.contracts.errors import ProblemKind
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from tests.app.http.test_problems import problem
from tests.engines import graphs
from tests.text.graphs import NAMES, token_model
from tests.text.tokenizer_files import SENTENCES, byte_level, changed, vocabulary, word_piece

Watch = Callable[[], AbstractContextManager[None]]

TOKENIZER = word_piece(max_length=12)
ROWS = max(vocabulary(TOKENIZER).values()) + 1
LABELS = ["animal", "music", "weather"]
CLASSIFIER: dict[str, Any] = {"task": "text_classification", "labels": LABELS}
EMBEDDER: dict[str, Any] = {"task": "text_embedding"}


def post(
    api: httpx.Client,
    metadata: dict[str, Any] = CLASSIFIER,
    content: bytes | None = None,
    tokenizer: bytes | None = TOKENIZER,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    files = {"file": ("m.onnx", token_model(ROWS) if content is None else content)}
    if tokenizer is not None:
        files["tokenizer"] = ("tokenizer.json", tokenizer)
    return api.post("/v1/models", files=files, data={"metadata": json.dumps(metadata)}, headers=headers)


def add(api: httpx.Client, metadata: dict[str, Any] = CLASSIFIER, content: bytes | None = None, **said: Any) -> Any:
    response = post(api, metadata, content, **said)
    assert response.status_code == 201, response.text
    return response.json()


def ask(api: httpx.Client, model: Any, body: dict[str, Any], query: str = "") -> Any:
    response = api.post(f"/v1/models/{model['id']}/predict{query}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def by_hand(
    text: str | tuple[str, str],
    *,
    content: bytes | None = None,
    tokenizer: bytes = TOKENIZER,
    output: str = "logits",
    names: tuple[str, ...] = NAMES,
    max_length: int = 12,
) -> Any:
    """Return an output of the model for one text, tokenized by the library in this process and not padded."""
    made = tokenizers.Tokenizer.from_str(tokenizer.decode())
    made.no_padding()
    made.enable_truncation(max_length)
    encoded = made.encode(text) if isinstance(text, str) else made.encode(*text)
    values = [np.array([part]) for part in (encoded.ids, encoded.attention_mask, encoded.type_ids)]
    loaded = OnnxRuntimeEngine().load(token_model(ROWS) if content is None else content, threads=1)
    return loaded.run(dict(zip(names, values, strict=False)))[output]


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_an_upload_says_how_texts_become_inputs(api: httpx.Client) -> None:
    model = add(api)
    text = model["metadata"]["text"]
    assert {name: text[name] for name in NAMES} == {name: name for name in NAMES}
    assert (text["max_length"], text["pooling"]) == (12, None)
    assert model["metadata_sources"]["text"] == "inferred"
    assert model["metadata_sources"]["text.max_length"] == "file"
    assert model["input_shapes"] == {name: [1, 12] for name in NAMES}
    assert api.get(model["links"]["tokenizer.json"]).content == TOKENIZER


def test_texts_are_classified(api: httpx.Client) -> None:
    answer = ask(api, add(api), {"texts": list(SENTENCES)})
    assert len(answer["predictions"]) == len(SENTENCES)
    for text, prediction in zip(SENTENCES, answer["predictions"], strict=True):
        expected = softmax(by_hand(text)[0])
        scores = {one["label"]: one["score"] for one in prediction["top"]}
        assert scores == pytest.approx(dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-5)
    assert "embeddings" not in answer
    assert "outputs" not in answer


def test_pairs_are_classified(api: httpx.Client) -> None:
    model = add(api, {**CLASSIFIER, "task": "text_pair_classification", "text": {"max_length": 24}})
    pairs = list(zip(SENTENCES[:4], SENTENCES[4:], strict=True))
    answer = ask(api, model, {"text_pairs": [list(pair) for pair in pairs]})
    for pair, prediction in zip(pairs, answer["predictions"], strict=True):
        expected = softmax(by_hand(pair, max_length=24)[0])
        assert prediction["label"] == LABELS[int(expected.argmax())]
        assert prediction["score"] == pytest.approx(expected.max(), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ({"pooling": "mean"}, "tokens"),
        ({"pooling": "cls", "normalize": True}, "tokens"),
        ({"normalize": True}, "hidden"),
        ({}, "tokens"),
    ],
)
def test_texts_are_embedded(api: httpx.Client, text: dict[str, Any], output: str) -> None:
    content = token_model(ROWS, outputs=("logits", "tokens", "hidden"))
    model = add(api, {**EMBEDDER, "text": text, "output": output}, content)
    found = np.array(ask(api, model, {"texts": list(SENTENCES)})["embeddings"])
    for sentence, vector in zip(SENTENCES, found, strict=True):
        value = by_hand(sentence, content=content, output=output)[0]
        if output == "tokens":
            value = value[0] if text.get("pooling") == "cls" else value.mean(axis=0)
        if text.get("normalize"):
            value = value / np.linalg.norm(value)
        np.testing.assert_allclose(vector, value, atol=1e-5)


def test_longer_texts_are_truncated_and_listed(api: httpx.Client) -> None:
    model = add(api)
    long = " ".join(SENTENCES)
    answer = ask(api, model, {"texts": ["a dog", long]}, "?raw=true")
    assert answer["truncated"] == [1]
    np.testing.assert_allclose(answer["outputs"]["logits"][1], by_hand(long)[0], atol=1e-5)
    assert "truncated" not in ask(api, model, {"texts": ["a dog"]})


def test_a_model_without_task_gives_its_outputs_padded_to_one_length(api: httpx.Client) -> None:
    content = token_model(ROWS, outputs=("tokens", "logits"))
    answer = ask(api, add(api, {}, content), {"texts": ["a dog", "a dog runs on the street"]})
    assert np.shape(answer["outputs"]["tokens"])[0] == 2
    assert np.shape(answer["outputs"]["tokens"])[2] == 6
    expected = by_hand("a dog", content=content, output="tokens")[0]
    np.testing.assert_allclose(answer["outputs"]["tokens"][0][: len(expected)], expected, atol=1e-5)
    pairs = ask(api, add(api, {}, content), {"text_pairs": [["a dog", "the rain"]]})
    np.testing.assert_allclose(pairs["outputs"]["logits"], by_hand(("a dog", "the rain"), content=content), atol=1e-5)


def test_many_texts_take_several_runs(api: httpx.Client) -> None:
    texts = [f"{sentence} {number}" for number in range(32) for sentence in SENTENCES]
    model = add(api, {**CLASSIFIER, "text": {"max_length": 512}}, tokenizer=word_piece())
    answer = ask(api, model, {"texts": texts}, "?raw=true")
    for index in (0, 100, 255):
        expected = by_hand(texts[index], max_length=512)[0]
        np.testing.assert_allclose(answer["outputs"]["logits"][index], expected, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_fixed_sizes(api: httpx.Client, batch: int) -> None:
    model = add(api, content=token_model(ROWS, shape=(batch, 10)))
    assert model["metadata"]["text"]["max_length"] == 10
    answer = ask(api, model, {"texts": list(SENTENCES)}, "?raw=true")
    for sentence, logits in zip(SENTENCES, answer["outputs"]["logits"], strict=True):
        np.testing.assert_allclose(logits, by_hand(sentence, max_length=10)[0], atol=1e-5)


def test_without_a_mask_each_text_runs_alone(api: httpx.Client) -> None:
    content = token_model(ROWS, names=("ids",), outputs=("logits",))
    model = add(api, content=content)
    answer = ask(api, model, {"texts": ["a dog", *SENTENCES]}, "?raw=true")
    for sentence, logits in zip(["a dog", *SENTENCES], answer["outputs"]["logits"], strict=True):
        expected = by_hand(sentence, content=content, names=("ids",))[0]
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_padding_on_the_left_and_inputs_of_32_bits(api: httpx.Client) -> None:
    rows = max(vocabulary(byte_level()).values()) + 1
    content = token_model(rows, dtype=TensorProto.INT32)
    model = add(api, content=content, tokenizer=byte_level())
    assert model["metadata"]["text"]["max_length"] == 512
    answer = ask(api, model, {"texts": list(SENTENCES)}, "?raw=true")
    made = tokenizers.Tokenizer.from_str(byte_level().decode())
    made.no_padding()
    loaded = OnnxRuntimeEngine().load(content, threads=1)
    for sentence, logits in zip(SENTENCES, answer["outputs"]["logits"], strict=True):
        ids = np.array([made.encode(sentence).ids], np.int32)
        expected = loaded.run({"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0})["logits"]
        np.testing.assert_allclose(logits, expected[0], atol=1e-5)


def test_names_that_the_metadata_say(api: httpx.Client) -> None:
    names = ("a", "b", "c")
    said = {"input_ids": "a", "attention_mask": "b", "token_type_ids": "c"}
    model = add(api, {**CLASSIFIER, "text": said}, token_model(ROWS, names=names))
    assert model["metadata_sources"]["text"] == "said"
    logits = ask(api, model, {"texts": ["a dog"]}, "?raw=true")["outputs"]["logits"]
    np.testing.assert_allclose(logits, by_hand("a dog", content=token_model(ROWS, names=names), names=names), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"texts": []}, ProblemKind.INVALID_INPUT, "There are 0 texts; send 1 to 256 at a time"),
        ({"texts": ["a"] * 257}, ProblemKind.INVALID_INPUT, "There are 257 texts"),
        ({"texts": "a dog"}, ProblemKind.INVALID_REQUEST, '`texts` must be a list: {"texts": ["a text", …]}'),
        ({"texts": ["a", 1]}, ProblemKind.INVALID_REQUEST, "`texts` must be a list"),
        ({"text_pairs": [["a"]]}, ProblemKind.INVALID_REQUEST, "`text_pairs` must be a list"),
        ({"texts": ["a"], "inputs": {}}, ProblemKind.INVALID_REQUEST, "There is no field 'inputs' beside `texts`"),
        ({"texts": ["a" * 100_001]}, ProblemKind.INVALID_INPUT, "send 100,000 at most"),
        ({"text_pairs": [["a", "b"]]}, ProblemKind.INVALID_INPUT, "text_classification; send `texts` in place"),
        ({"text": ["a"]}, ProblemKind.INVALID_REQUEST, 'or for a model with a tokenizer {"texts": ["a text", …]}'),
    ],
)
def test_other_bodies_are_refused(api: httpx.Client, body: dict[str, Any], kind: ProblemKind, words: str) -> None:
    document = problem(api.post(f"/v1/models/{add(api)['id']}/predict", json=body), kind)
    assert words in document.detail
    assert document.errors


def test_a_pair_classifier_takes_no_single_texts(api: httpx.Client) -> None:
    model = add(api, {**CLASSIFIER, "task": "text_pair_classification"})
    response = api.post(f"/v1/models/{model['id']}/predict", json={"texts": ["a dog"]})
    assert "send `text_pairs` in place of `texts`" in problem(response, ProblemKind.INVALID_INPUT).detail


def test_texts_to_a_model_without_tokenizer_name_the_remedy(api: httpx.Client) -> None:
    model = add(api, tokenizer=None)
    response = api.post(f"/v1/models/{model['id']}/predict", json={"texts": ["a dog"]})
    document = problem(response, ProblemKind.INVALID_INPUT)
    assert "Upload it again with its tokenizer.json (curl: -F tokenizer=@tokenizer.json)" in document.detail
    assert [error.field for error in document.errors] == ["texts"]


@pytest.mark.parametrize(
    ("changes", "kind", "field", "words"),
    [
        ({"tokenizer": b""}, ProblemKind.INVALID_TOKENIZER, "tokenizer", "The file is empty"),
        ({"tokenizer": b"[PAD]\nthe\n"}, ProblemKind.INVALID_TOKENIZER, "tokenizer", "The file is not JSON"),
        (
            {"tokenizer": changed(TOKENIZER, model={"type": "WordPiece", "vocab": {"a": -1}})},
            ProblemKind.INVALID_TOKENIZER,
            "tokenizer",
            "expected u32",
        ),
        (
            {"content": token_model(ROWS - 1)},
            ProblemKind.MODEL_NOT_RUNNABLE,
            "tokenizer",
            f"The tokenizer has ids up to {ROWS - 1}, and the model fails on them",
        ),
        (
            {"content": token_model(ROWS, positions=16), "metadata": {**CLASSIFIER, "text": {"max_length": 17}}},
            ProblemKind.MODEL_NOT_RUNNABLE,
            "metadata.text.max_length",
            "The model fails at a `max_length` of 17 tokens",
        ),
        (
            {"tokenizer": None, "metadata": {**CLASSIFIER, "text": {}}},
            ProblemKind.METADATA_MISMATCH,
            "metadata.text",
            "which takes a tokenizer. Upload it with the model",
        ),
        (
            {"metadata": {**CLASSIFIER, "text": {"input_ids": "ids"}}},
            ProblemKind.METADATA_MISMATCH,
            "metadata.text.input_ids",
            "The model has no input 'ids'",
        ),
        (
            {"metadata": {**CLASSIFIER, "text": {"max_length": 2}}},
            ProblemKind.INVALID_METADATA,
            "metadata.text.max_length",
            "greater than or equal to 3",
        ),
        (
            {"metadata": EMBEDDER | {"text": {"pooling": "cls"}}},
            ProblemKind.METADATA_MISMATCH,
            "metadata.text.pooling",
            "'logits' has 2 axes",
        ),
    ],
)
def test_uploads_that_do_not_fit_together_are_refused(
    api: httpx.Client, unchanged: Watch, changes: dict[str, Any], kind: ProblemKind, field: str, words: str
) -> None:
    with unchanged():
        document = problem(post(api, **changes), kind)
    assert words in document.detail
    assert [error.field for error in document.errors] == [field]


def test_a_tokenizer_beside_a_model_of_images_is_refused(api: httpx.Client) -> None:
    document = problem(post(api, {}, graphs.classifier()), ProblemKind.METADATA_MISMATCH)
    assert "No input of the model is for token ids" in document.detail


def test_a_length_that_nobody_said_is_one_at_which_the_model_runs(api: httpx.Client) -> None:
    model = add(api, content=token_model(ROWS, positions=100), tokenizer=word_piece())
    assert model["metadata"]["text"]["max_length"] == 64


def test_two_tokenizers_are_refused(api: httpx.Client) -> None:
    files = [("file", ("m.onnx", token_model(ROWS)))] + [("tokenizer", ("t.json", TOKENIZER))] * 2
    response = api.post("/v1/models", files=files)
    assert response.status_code == 422
    assert problem(response, ProblemKind.INVALID_REQUEST).errors


def test_an_upload_is_repeated_with_the_same_tokenizer_only(api: httpx.Client) -> None:
    key = {"Idempotency-Key": "text-model"}
    first = post(api, headers=key)
    assert post(api, headers=key).json() == first.json()
    problem(post(api, tokenizer=word_piece(), headers=key), ProblemKind.IDEMPOTENCY_MISMATCH)


def test_deleting_a_model_deletes_its_tokenizer(api: httpx.Client) -> None:
    model = add(api, tokenizer=word_piece(max_length=11))
    ask(api, model, {"texts": ["a dog"]})
    assert api.delete(f"/v1/models/{model['id']}").status_code == 204
    problem(api.get(model["links"]["tokenizer.json"]), ProblemKind.NOT_FOUND)
