"""Fuzzing of request bodies with a seed: the response is a success or a 4xx problem."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import pytest

from tests.app.uploads import METADATA, add_model, detection, image, images
from tests.engines import graphs

_ROUNDS = 60
_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.onnx"\r\nContent-Type: x/y\r\n\r\nabc\r\n'
    b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nabc\r\n--b--\r\n'
)


def damaged(content: bytes, random: Random) -> bytes:
    """Return the content with some bytes changed, removed or inserted."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 4, 8])):
        position, kind = random.randrange(len(changed) or 1), random.random()
        if kind < 0.5 and changed:
            changed[position] = random.randrange(256)
        elif kind < 0.65:
            del changed[position : position + random.randrange(1, 20)]
        elif kind < 0.8:
            changed[position:position] = random.randbytes(random.randrange(1, 9))
        else:
            changed[position : position + 4] = random.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"../."])
    return bytes(changed)


def model_file(random: Random) -> dict[str, Any]:
    content = random.choice([graphs.classifier(), graphs.adder(), graphs.endless(), graphs.fails_when_run()])
    return {"url": "/v1/models", "files": {"file": ("a.onnx", damaged(content, random))}}


def metadata(random: Random) -> dict[str, Any]:
    text = damaged(json.dumps(METADATA).encode(), random).decode("latin-1")
    return {"url": "/v1/models", "files": {"file": ("a.onnx", graphs.classifier())}, "data": {"metadata": text}}


def form(random: Random) -> dict[str, Any]:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return {"url": "/v1/models", "content": damaged(_FORM, random), "headers": headers}


def dataset(random: Random) -> dict[str, Any]:
    kind, content = random.choice([("images", images(["cat"])), ("detection", detection(["a", "b"]))])
    return {"url": "/v1/datasets", "files": {"file": ("a.zip", damaged(content, random))}, "data": {"kind": kind}}


def quantization(random: Random) -> dict[str, Any]:
    content = damaged(b'{"method": "rq", "weight_bits": 4, "seed": 1}', random)
    return {"url": "{model}/quantizations", "content": content, "headers": {"Content-Type": "application/json"}}


def evaluation(random: Random) -> dict[str, Any]:
    content = damaged(b'{"reference_id": "dts_a", "generated_id": "dts_b", "k": [3, 5], "metrics": ["fid"]}', random)
    return {"url": "/v1/evaluations", "content": content, "headers": {"Content-Type": "application/json"}}


def explanation(random: Random) -> dict[str, Any]:
    content = damaged(b'{"dataset_id": "dts_a", "layer": ["r", "c"], "units": [0], "quantile": 0.01}', random)
    return {"url": "{model}/explanations", "content": content, "headers": {"Content-Type": "application/json"}}


def tensors(random: Random) -> dict[str, Any]:
    content = damaged(json.dumps({"inputs": {"image": [[[[0.5] * 8] * 8] * 3]}}).encode(), random)
    return {"url": "{model}/predict", "content": content, "headers": {"Content-Type": "application/json"}}


def image_body(random: Random) -> dict[str, Any]:
    content = image(form=random.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    return {"url": "{model}/predict", "content": damaged(content, random), "headers": {"Content-Type": "image/png"}}


@pytest.mark.parametrize(
    "make", [model_file, metadata, form, dataset, quantization, evaluation, explanation, tensors, image_body]
)
def test_corrupted_bodies_never_cause_a_server_error(
    api: httpx.Client, make: Callable[[Random], dict[str, Any]]
) -> None:
    model = f"/v1/models/{add_model(api)['id']}"
    random = Random(7)
    refused = 0
    for _ in range(_ROUNDS):
        request = make(random)
        response = api.post(**{**request, "url": request["url"].format(model=model)})
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            refused += 1
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["detail"]
    assert refused
    assert api.get(model).status_code == 200
