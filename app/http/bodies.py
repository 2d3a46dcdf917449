"""OpenAPI descriptions of request and response bodies that FastAPI cannot derive."""

from typing import Any, Final

from app.http.responses import JSON

METADATA_EXAMPLE: Final[dict[str, Any]] = {
    "task": "image_classification",
    "preprocessing": {
        "size": [32, 32],
        "resize": "stretch",
        "channel_order": "rgb",
        "scale": 0.00392156862745098,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    "labels": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}

DETECTION_EXAMPLE: Final[dict[str, Any]] = {
    "task": "object_detection",
    "preprocessing": {"size": [352, 352], "resize": "stretch", "channel_order": "bgr"},
    "labels": ["person", "bicycle", "…"],
    "detection": {
        "head": "grid",
        "boxes": "758",
        "layout": "channels_first",
        "objectness_offset": 0,
        "box_offset": 1,
        "class_offset": 5,
        "box_format": "center_size",
        "center_activation": "tanh",
        "size_activation": "sigmoid",
        "objectness_power": 0.6,
        "class_power": 0.4,
        "score_threshold": 0.3,
        "iou_threshold": 0.45,
    },
}

PRESET_EXAMPLE: Final[dict[str, Any]] = {
    "labels": ["person", "bicycle", "…"],
    "preprocessing": {"preset": "yolo-letterbox", "size": [640, 640]},
    "detection": {"preset": "yolov8", "score_threshold": 0.5},
}

TEXT_EXAMPLE: Final[dict[str, Any]] = {
    "task": "text_embedding",
    "text": {"pooling": "mean", "normalize": True, "max_length": 256},
}

_BINARY: Final = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
_NAME: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "description": "Name of the resource; the file name without extension by default.",
    "examples": ["resnet20"],
}

MODEL_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file"],
                    "properties": {
                        "file": {**_BINARY, "description": "The ONNX file, weights inside."},
                        "name": _NAME,
                        "metadata": {
                            "allOf": [{"$ref": "#/components/schemas/ModelMetadata"}],
                            "description": "Task and preprocessing of the model, as JSON. An unknown field is an "
                            "error. What is not given is taken from what the file says of itself, and from shapes that "
                            "leave no doubt; see `metadata_sources` of the answer.",
                            "examples": [METADATA_EXAMPLE, PRESET_EXAMPLE, DETECTION_EXAMPLE, TEXT_EXAMPLE],
                            "example": METADATA_EXAMPLE,
                        },
                        "tokenizer": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "format": "binary",
                            "description": "For a text model: its `tokenizer.json`, in the format of the package "
                            "tokenizers. `predict` then takes texts. It is stored among the `files` of the model.",
                        },
                    },
                },
                "encoding": {"metadata": {"contentType": "application/json"}},
            }
        },
    }
}

DATASET_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file", "kind"],
                    "properties": {
                        "file": {**_BINARY, "description": "The dataset's file; its content depends on `kind`."},
                        "kind": {
                            "allOf": [{"$ref": "#/components/schemas/DatasetKind"}],
                            "description": "`images`: a zip of images, class folders or an index such as `val.txt` "
                            "optional (folder name = class). `detection`: a zip of images with annotations of COCO, "
                            "PASCAL VOC or YOLO. "
                            "`signals`: an `.npz` as `numpy.savez` writes it, with `signals` [N, channels, length] of "
                            "floats, and optionally: `labels` [N] of whole numbers from 0, `classes` [K] of "
                            "text that names them (without names they mean the model's outputs), and `concepts` [N, "
                            "length] (or [N, M, length], up to M at once) of whole numbers, 0 for nothing and k for "
                            "the k-th of `concept_names` [J]. "
                            "`features`: an `.npz` with `features` [N, D] of floats, a row for each sample, and where "
                            "there are any `labels` and `classes` as above. `concepts`: a zip of images with concepts "
                            "of their pixels, `text_pairs`: a zip of sentence pairs, `texts`: a text file, and "
                            "`domains`: a zip of the images of two domains, in `A/` and `B/`; all four as described "
                            "above.",
                            "examples": ["images"],
                        },
                        "name": {**_NAME, "examples": ["cifar10-test"]},
                        "paired": {
                            "type": "boolean",
                            "default": False,
                            "description": "Only for kind `domains`: whether each image of `A/` is one of a pair "
                            "with the image of `B/` of the same name, or, without these folders, whether each image "
                            "shows a pair side by side. If true, names and sizes must match.",
                            "examples": [True],
                        },
                    },
                }
            }
        },
    }
}

_IMAGES: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "required": ["file"],
            "properties": {
                "file": {
                    "type": "array",
                    "minItems": 1,
                    "items": _BINARY,
                    "description": "One image, or several of them (repeat the part): JPEG, PNG, WebP, GIF, BMP or "
                    "TIFF.",
                }
            },
        }
    },
    "image/*": {"schema": {**_BINARY, "description": "One image, as the whole body."}},
}

IMAGES_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "description": "One image, or several.", "content": _IMAGES}
}

PREDICT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "One image, several images, texts, or tensors.",
        "content": {
            **_IMAGES,
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/TensorInputs"},
                        {"$ref": "#/components/schemas/TextInputs"},
                    ]
                },
                "examples": {
                    "image": {
                        "summary": "One input, [1, 1, 2, 2]",
                        "value": {"inputs": {"image": [[[[0.0, 0.5], [0.5, 1.0]]]]}},
                    },
                    "signal": {
                        "summary": "One input, [1, 1, 4]: one signal of one channel and four values",
                        "value": {"inputs": {"signal": [[[0.0, 0.1, 0.9, 0.2]]]}},
                    },
                    "texts": {
                        "summary": "Two texts, for a model with a tokenizer",
                        "value": {"texts": ["A dog runs.", "It rains."]},
                    },
                    "text pairs": {
                        "summary": "A pair of texts, for a model with a tokenizer",
                        "value": {"text_pairs": [["A dog runs.", "An animal moves."]]},
                    },
                    "ids of text pairs": {
                        "summary": "Two inputs of token ids",
                        "value": {"inputs": {"premise": [[4, 12, 7, 0]], "hypothesis": [[4, 9, 0, 0]]}},
                    },
                },
            },
        },
    }
}


def file_content(*media_types: str, what: str) -> dict[int | str, dict[str, Any]]:
    """Return the documented responses of a file download.

    Args:
        *media_types: Possible media types of the file.
        what: Description of the file.
    """
    headers = {
        "ETag": {"description": "The SHA-256 of the file, in quotes.", "schema": {"type": "string"}},
        "Content-Disposition": {"description": "Suggested file name.", "schema": {"type": "string"}},
    }
    content = {media_type: {"schema": {} if media_type == JSON else _BINARY} for media_type in media_types}
    return {
        200: {"description": what, "content": content, "headers": headers},
        206: {
            "description": "The bytes requested with `Range`.",
            "content": content,
            "headers": {**headers, "Content-Range": {"description": "Which bytes.", "schema": {"type": "string"}}},
        },
        304: {"description": "The file matches `If-None-Match`; there is no body."},
    }


def drawn_image(what: str) -> dict[int | str, dict[str, Any]]:
    """Return the documented responses of a PNG that is drawn for the request.

    Args:
        what: Description of the image.
    """
    etag = {"description": "Identifies the content of the image.", "schema": {"type": "string"}}
    content = {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png", "format": "binary"}}}
    return {
        200: {"description": what, "content": content, "headers": {"ETag": etag}},
        304: {"description": "Not modified: `If-None-Match` has the current ETag; there is no body."},
    }
