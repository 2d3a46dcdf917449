"""Small datasets of kinds concepts, text_pairs and domains."""

import json
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.app.uploads import archive, image

NAMES = {"object": ["sky", "road"], "scene": ["day", "dusk"]}


def concepts(largest: int = 2) -> bytes:
    """Return a `concepts` dataset of two images; ``largest`` is the largest label."""
    values, label = np.zeros((10, 12), np.uint8), BytesIO()
    values[:4] = largest
    Image.fromarray(values).save(label, "PNG")
    files = {f"images/{name}.png": image(seed) for seed, name in enumerate("ab")}
    files |= {f"labels/object/{name}.png": label.getvalue() for name in "ab"}
    files["image_labels.csv"] = b"image,category,concept\na,scene,day\nb.png,scene,dusk\n"
    return archive({**files, "concepts.json": json.dumps(NAMES).encode()})


def text_pairs(**changes: Any) -> bytes:
    """Return a `text_pairs` dataset of two pairs, with changes of the second."""
    pairs = [{"premise": "a man plays", "hypothesis": "a man sleeps", "label": "contradiction"}] * 2
    lines = [json.dumps(pair).encode() for pair in (pairs[0], {**pairs[1], **changes})]
    return archive({"pairs.jsonl": b"\n".join(lines), "vocab.txt": b"<pad>\n<unk>\na\nman\nplays\n"})


def domains(*others: str, size: tuple[int, int] = (12, 10)) -> bytes:
    """Return a `domains` dataset of two pairs, the last image of that size, and further images."""
    files = {name: image(seed) for seed, name in enumerate(["A/1.png", "A/2.png", "B/1.png", *others])}
    return archive({**files, "B/2.jpg": image(size=size, form="JPEG")})
