"""Images of units in their top-activating samples, over HTTP."""

import io
from typing import Any

import httpx
from PIL import Image

from faceter.contracts.errors import ProblemKind
from faceter.contracts.explanations import Explanation
from faceter.contracts.settings import Settings
from faceter.contracts.units import Unit
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_dataset
from faceter.datasets.signals import SignalsDataset
from faceter.explanations.drawing.images import ImageSample, draw_unit_on_images
from faceter.explanations.drawing.signals import SignalSample, draw_unit_on_signals
from faceter.explanations.masks import MASKS, ExplanationMasks, LayerMasks, encode_masks
from faceter.store.library import Library
from tests.app.explanation_records import LAYERED_UNITS, UNITS, add_explanation, random_masks, single_layer_masks
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset
from tests.workers.explanation import scenes


def drawn_from(
    api: httpx.Client,
    library: Library,
    content: bytes,
    kind: str,
    masks: ExplanationMasks,
    units: Any = UNITS,
    **payload: Any,
) -> Explanation:
    """Store an explanation with masks, of an existing dataset."""
    dataset = add_dataset(api, content, kind)["id"]
    return add_explanation(
        library, units, files={MASKS: encode_masks(masks)}, settings={"dataset_id": dataset}, **payload
    )


def test_a_unit_of_images_drawn(api: httpx.Client, library: Library, settings: Settings) -> None:
    masks = random_masks(4, 5, 3, (7, 5))
    made = drawn_from(api, library, scenes.scenes(5), "concepts", single_layer_masks(masks), name="naïve")
    for row, one in enumerate(UNITS):
        response = api.get(f"/v1/explanations/{made.id}/units/{one.unit}/image")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "image/png"
        assert f'filename="na_ve-relu-{one.unit}.png"' in response.headers["content-disposition"]
        assert response.content == image_of(made, library, settings, one, row, masks)
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.width >= 2 * 2 * 240


def image_of(made: Explanation, library: Library, settings: Settings, one: Unit, row: int, masks: LayerMasks) -> bytes:
    """Return the expected image of a unit."""
    quality = f"IoU {one.score:.2f} · ceiling {one.ceiling:.2f}" if one.formula else "never fires"
    subtitle = f"unit {one.unit} of relu · {quality} · threshold 1.38"
    path = library.blobs.path(library.datasets.get(made.settings.dataset_id).sha256)
    samples = []
    with open_dataset(path, library.datasets.get(made.settings.dataset_id).kind, settings) as opened:
        assert isinstance(opened, ConceptsDataset)
        for place, index in enumerate(masks.strongest[row, :-1].tolist()):
            caption = f"{index:03}.png" + (" · activation 7.31 · day" if index == 1 else "")
            unit, formula = masks.unit_masks[row, place], masks.formula_masks[row, place]
            samples.append(ImageSample(opened.image(index), caption, unit, formula))
    return draw_unit_on_images(one.formula or "no formula", subtitle, samples)


def first_with_example(masks: LayerMasks) -> int:
    """Return the first unit whose strongest samples have the one of its examples, sample 1."""
    return next(row for row, strongest in enumerate(masks.strongest.tolist()) if UNITS[row].examples and 1 in strongest)


def test_one_sample_of_a_unit_is_drawn_alone(api: httpx.Client, library: Library) -> None:
    masks = random_masks(4, 5, 5, (7, 5))
    made = drawn_from(api, library, scenes.scenes(5), "concepts", single_layer_masks(masks))
    address = f"/v1/explanations/{made.id}/units/{UNITS[first_with_example(masks)].unit}/image"
    alone, all_samples = api.get(f"{address}?sample=0"), api.get(address)
    assert alone.headers["etag"] != all_samples.headers["etag"]
    with Image.open(io.BytesIO(alone.content)) as image:
        assert image.height < image.width < 2 * 244 + 5
    refused = problem(api.get(f"{address}?sample=1"), ProblemKind.INVALID_REQUEST)
    assert "has 1 `examples`" in refused.detail


def test_one_signal_of_a_unit_is_drawn_alone(api: httpx.Client, library: Library) -> None:
    masks = random_masks(4, 6, 6, (64,))
    made = drawn_from(api, library, scenes.beats(6), "signals", single_layer_masks(masks), about="signals")
    unit = UNITS[first_with_example(masks)].unit
    alone = api.get(f"/v1/explanations/{made.id}/units/{unit}/image?sample=0")
    with Image.open(io.BytesIO(alone.content)) as image:
        assert (image.width, image.height) == (870, 104)


def test_a_unit_of_signals_drawn(api: httpx.Client, library: Library, settings: Settings) -> None:
    masks = random_masks(4, 6, 4, (64,))
    made = drawn_from(api, library, scenes.beats(6), "signals", single_layer_masks(masks), about="signals")
    response = api.get(f"/v1/explanations/{made.id}/units/1/image")
    path = library.blobs.path(library.datasets.get(made.settings.dataset_id).sha256)
    samples = []
    with open_dataset(path, library.datasets.get(made.settings.dataset_id).kind, settings) as opened:
        assert isinstance(opened, SignalsDataset)
        for place, index in enumerate(masks.strongest[1, :-1].tolist()):
            (batch,) = opened.batches(1, indices=[index])
            caption = f"signal {index}" + (" · activation 7.31 · day" if index == 1 else "")
            unit, formula = masks.unit_masks[1, place], masks.formula_masks[1, place]
            samples.append(SignalSample(batch.inputs[0], caption, unit, formula))
    subtitle = "unit 1 of relu · IoU 0.50 · ceiling 0.60 · threshold 1.38"
    assert response.content == draw_unit_on_signals("tree", subtitle, samples, "tree")


def test_units_of_several_layers_are_drawn_each_from_its_own_masks(api: httpx.Client, library: Library) -> None:
    layers = [random_masks(2, 5, 2, (8, 8), seed=1), random_masks(1, 5, 2, (8, 8), seed=2)]
    made = drawn_from(api, library, scenes.scenes(5), "concepts", ExplanationMasks(layers, None, None), LAYERED_UNITS)
    seen = set()
    for one in LAYERED_UNITS:
        response = api.get(f"/v1/explanations/{made.id}/units/{one.unit}/image", params={"layer": one.layer})
        assert response.status_code == 200, response.text
        seen.add((response.content, response.headers["etag"]))
    assert len(seen) == 3


def test_a_cached_image_is_not_sent_again(api: httpx.Client, library: Library) -> None:
    made = drawn_from(api, library, scenes.scenes(5), "concepts", single_layer_masks(random_masks(4, 5, 3, (7, 5))))
    address = f"/v1/explanations/{made.id}/units/0/image"
    first = api.get(address)
    again = api.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = api.get(f"/v1/explanations/{made.id}/units/1/image", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200
    head = api.head(address)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])


def test_units_that_cannot_be_drawn(api: httpx.Client, library: Library) -> None:
    text = add_explanation(library, about="text")
    document = problem(api.get(f"/v1/explanations/{text.id}/units/1/image"), ProblemKind.NOT_ACCEPTABLE)
    assert "The unit's `examples` are the sentences" in document.detail
    made = drawn_from(api, library, scenes.scenes(5), "concepts", single_layer_masks(random_masks(4, 5, 3, (7, 5))))
    address = f"/v1/explanations/{made.id}/units/1/image"
    assert api.delete(f"/v1/datasets/{made.settings.dataset_id}").status_code == 204
    gone = problem(api.get(address), ProblemKind.NOT_FOUND)
    assert f"the dataset {made.settings.dataset_id}, which has been deleted since" in gone.detail
    bare = add_explanation(library)
    assert (
        "has no file 'masks.npz'"
        in problem(api.get(f"/v1/explanations/{bare.id}/units/1/image"), ProblemKind.NOT_FOUND).detail
    )
