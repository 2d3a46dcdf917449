"""Models whose image input has another layout, type or number of channels: upload, predict, and what is refused."""

import itertools
from typing import Any

import httpx
import numpy as np
import pytest

from faceter.contracts.errors import ProblemKind
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model, image, post_model
from tests.engines.image_networks import SIDE, image_network

Fields = dict[str, Any]
FILES = [image(seed, (40, 30)) for seed in range(3)]


def metadata(**preprocessing: Any) -> Fields:
    return {"task": "image_classification", "preprocessing": {"size": [SIDE, SIDE], **preprocessing}}


def logits(api: httpx.Client, content: bytes, **preprocessing: Any) -> np.ndarray[Any, Any]:
    model = add_model(api, content, metadata=metadata(**preprocessing))
    files = [("file", (f"{number}.png", content)) for number, content in enumerate(FILES)]
    answer = api.post(f"/v1/models/{model['id']}/predict?raw=true", files=files)
    assert answer.status_code == 200, answer.text
    return np.asarray(answer.json()["outputs"]["logits"])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_input_predicts_the_same(api: httpx.Client, channels: int) -> None:
    expected = logits(api, image_network(channels=channels))
    assert np.ptp(expected) > 0.1
    for last, whole, sizes_open in itertools.product([False, True], repeat=3):
        content = image_network(channels_last=last, whole_numbers=whole, channels=channels, sizes_open=sizes_open)
        fields: Fields = {"channel_order": "gray"} if channels == 1 and sizes_open else {}
        np.testing.assert_allclose(logits(api, content, **fields), expected, rtol=1e-4, atol=1e-5)


def test_what_was_found_is_in_the_metadata(api: httpx.Client) -> None:
    content = image_network(channels_last=True, whole_numbers=True, channels=1)
    found = add_model(api, content, metadata=metadata())["metadata"]["preprocessing"]
    assert (found["layout"], found["channel_order"], found["scale"]) == ("channels_last", "gray", 1)
    plain = add_model(api, image_network(), metadata=metadata())["metadata"]["preprocessing"]
    assert (plain["layout"], plain["channel_order"], plain["scale"]) == ("channels_first", "rgb", 1 / 255)


def test_a_preset_is_stored_resolved(api: httpx.Client) -> None:
    given = {"task": "image_classification", "preprocessing": {"preset": "imagenet-timm"}}
    found = add_model(api, image_network(channels_last=True), metadata=given)["metadata"]["preprocessing"]
    assert found == {
        "preset": "imagenet-timm",
        "input": "image",
        "layout": "channels_last",
        "size": [SIDE, SIDE],
        "resize": "crop",
        "crop_fraction": 0.875,
        "interpolation": "bicubic",
        "antialias": True,
        "resampler": "pillow",
        "channel_order": "rgb",
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "pad_value": 114,
        "decoder": "full",
    }


@pytest.mark.parametrize(
    ("content", "preprocessing", "kind", "field", "words"),
    [
        (
            image_network(),
            {"preset": "imagenet"},
            ProblemKind.INVALID_METADATA,
            "metadata.preprocessing.preset",
            "'imagenet-torchvision', 'imagenet-timm', 'imagenet-tf', 'yolo-letterbox' or 'paddle'",
        ),
        (
            image_network(),
            {"resampler": "opencv", "antialias": True},
            ProblemKind.INVALID_METADATA,
            "metadata.preprocessing",
            "OpenCV does not antialias",
        ),
        (
            image_network(),
            {"decoder": "fast"},
            ProblemKind.INVALID_METADATA,
            "metadata.preprocessing.decoder",
            "'full' or 'scaled'",
        ),
        (
            image_network(channels_last=True),
            {"layout": "channels_first"},
            ProblemKind.METADATA_MISMATCH,
            "metadata.preprocessing.channel_order",
            "read as [N, C, H, W]",
        ),
        (
            image_network(),
            {"layout": "channels_last"},
            ProblemKind.METADATA_MISMATCH,
            "metadata.preprocessing.size",
            "read as [N, H, W, C] (channels last)",
        ),
        (
            image_network(whole_numbers=True),
            {"preset": "imagenet-timm"},
            ProblemKind.METADATA_MISMATCH,
            "metadata.preprocessing.scale",
            "need scale 1",
        ),
    ],
    ids=["preset", "antialias", "decoder", "channels first", "channels last", "whole numbers"],
)
def test_what_does_not_fit_is_refused(
    api: httpx.Client, content: bytes, preprocessing: Fields, kind: ProblemKind, field: str, words: str
) -> None:
    document = problem(post_model(api, content, metadata=metadata(**preprocessing)), kind)
    assert field in [error.field for error in document.errors]
    assert words in " ".join(error.message for error in document.errors)
