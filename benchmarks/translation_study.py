"""Translators of real images, trained by a running service: tables and images of the documentation.

    .venv/bin/faceter up
    python -m benchmarks.translation_study dusk2day --data ../shared/data --minutes 60 --images docs/images
    python -m benchmarks.translation_study pix2pix cyclegan --data ../shared/data --minutes 20 --images docs/images

Each study uploads its datasets and the feature extractor for density, coverage and FID (the shared ResNet-20), trains
on the training part, and prints the translator's evaluation on the held-out part.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.post_training import classifier, print_table

_SECONDS = 3.0
_TENSOR = "mean"


@dataclass(frozen=True)
class Study:
    """A dataset and the settings of a training.

    Args:
        folder: Folder of the datasets.
        paired: Whether images are pairs.
        request: Settings of the translator, without datasets and duration.
    """

    folder: str
    paired: bool
    request: dict[str, Any]


_SMALL = {"image_size": 128, "base_channels": 32, "residual_blocks": 6}

STUDIES = {
    "dusk2day": Study("dusk2day", False, {"method": "cyclegan", **_SMALL}),
    "pix2pix": Study("labels2photo", True, {"method": "pix2pix", "image_size": 128, "base_channels": 32}),
    "cyclegan": Study("labels2photo", True, {"method": "cyclegan", **_SMALL, "identity": 0}),
}
"""CycleGAN ignores pairs; on paired data its pixel error is measured too."""


def run(client: httpx.Client, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one translator and return its record."""
    study = STUDIES[name]
    folder = options.data / study.folder
    ids = {part: _upload(client, folder / f"{part}.zip", paired=study.paired) for part in ("train", "test")}
    features = {
        "model_id": _feature_extractor(client, options.data / "cifar10" / "resnet20.onnx"),
        "tensor": options.tensor,
    }
    request = {
        **study.request,
        "dataset_id": ids["train"],
        "evaluation_dataset_id": ids["test"],
        "features": features,
        "max_minutes": options.minutes,
        "seed": options.seed,
        "name": f"{study.folder}, {study.request['method']}",
    }
    job = _checked(client.post("/v1/translators", json=request))
    while job["status"] in ("queued", "running"):
        time.sleep(_SECONDS)
        job = _checked(client.get(f"/v1/jobs/{job['id']}"))
    if job["status"] != "succeeded":
        raise RuntimeError(f"{name}: {job['status']}: {job['error']}")
    here = f"/v1/translators/{job['result']['translator_id']}"
    options.images.mkdir(parents=True, exist_ok=True)
    for file in ("samples.png", "curves.png"):
        (options.images / f"translation-{name}-{file}").write_bytes(client.get(f"{here}/files/{file}").content)
    translator = _checked(client.get(here))
    (options.images / f"translation-{name}.json").write_text(json.dumps(translator), encoding="utf-8")
    return translator


def report(translator: dict[str, Any]) -> None:
    """Print the training record and the evaluation of a translator."""
    training = translator["training"]
    print(
        f"\n{translator['name']}: {training['steps']:,} steps, {training['epochs']:.1f} epochs in "
        f"{training['seconds'] / 60:.1f} minutes ({training['steps_per_second']:.2f} a second, {training['precision']}"
        f"{', compiled' if training['compiled'] else ''}; waited {training['waited_seconds']:.1f} s for images), "
        f"{translator['provenance']['host']}\n"
    )
    rows = []
    for direction, evaluation in translator["evaluation"].items():
        brightness = evaluation["brightness"]
        rows.append(
            [
                direction,
                " → ".join(f"{brightness[of]:.3f}" for of in ("source", "translated"))
                + f" ({brightness['target']:.3f})",
                *(_pair(evaluation, metric) for metric in ("density", "coverage", "fid")),
                _text(evaluation["reconstruction_error"]),
                _text(evaluation["pixel_error"]),
                _text(evaluation["mean_image_error"]),
            ]
        )
    print_table(
        [
            "direction",
            "brightness (target)",
            "density",
            "coverage",
            "FID",
            "reconstruction",
            "pixel error",
            "mean image",
        ],
        rows,
    )


def _pair(evaluation: dict[str, Any], metric: str) -> str:
    if metric not in evaluation["metrics"]:
        return ""
    return f"{evaluation['untranslated'][metric]:.3f} → {evaluation['metrics'][metric]:.3f}"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _upload(client: httpx.Client, path: Path, *, paired: bool) -> str:
    fields = {"kind": "domains", "name": f"{path.parent.name}-{path.stem}", "paired": str(paired).lower()}
    with path.open("rb") as file:
        dataset = _checked(client.post("/v1/datasets", data=fields, files={"file": file}))
    return str(dataset["id"])


def _feature_extractor(client: httpx.Client, path: Path) -> str:
    metadata = classifier((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).model_dump_json()
    with path.open("rb") as file:
        model = _checked(
            client.post("/v1/models", data={"name": "resnet20", "metadata": metadata}, files={"file": file})
        )
    return str(model["id"])


def _checked(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if response.is_error:
        raise RuntimeError(body["detail"])
    return body


def main() -> None:
    """Train the named translators, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=STUDIES)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the service")
    parser.add_argument("--minutes", type=float, default=60.0, help="duration of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tensor", default=_TENSOR, help="the ResNet-20's feature tensor")
    parser.add_argument("--images", type=Path, default=Path("images"), help="folder for samples and curves")
    options = parser.parse_args()
    with httpx.Client(base_url=options.url, timeout=60) as client:
        for name in options.studies:
            report(run(client, name, options))


if __name__ == "__main__":
    main()
