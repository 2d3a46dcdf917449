"""Contact sheets of ranked samples; to check for copies, beside their nearest real samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.evaluations import EvaluationSample, Shown
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_inputs
from faceter.datasets.ranked_samples import RankedSamples
from faceter.datasets.signals import SignalsDataset
from faceter.store.library import Library
from workers.figures.contact_sheet import MAX_TILES, mixed_sheet, signal_sheet
from workers.figures.pairs import MAX_PAIRS, pairs_sheet, signal_pairs_sheet
from workers.figures.pixels import Pixels

TITLES = {
    Shown.OUTSIDE: "generated samples in no real ball, the farthest first",
    Shown.UNCOVERED: "real samples without a generated one in their ball, the farthest first",
    Shown.DENSEST: "generated samples in the most real balls",
    Shown.CLOSEST: "generated samples nearest to a real one, beside it",
}


def contact_sheet(
    library: Library, settings: Settings, samples: RankedSamples, which: Shown, reference: Dataset, generated: Dataset
) -> bytes | None:
    """Return a contact sheet as a PNG file; None for features, which are no images, or if there are no samples.

    Args:
        library: Has the files of the datasets.
        settings: Limits.
        samples: Rankings of both sets.
        which: The ranking to show.
        reference: The dataset of real samples.
        generated: The dataset of generated samples.
    """
    if generated.kind is DatasetKind.FEATURES:
        return None
    limit = MAX_PAIRS if which is Shown.CLOSEST else MAX_TILES
    ranked = [samples.sample(which, int(row)) for row in samples.order(which)[:limit]]
    if not ranked:
        return None
    shown, other = (reference, generated) if which is Shown.UNCOVERED else (generated, reference)
    indices = [sample.index for sample in ranked]
    nearest = [sample.nearest_index for sample in ranked] if which is Shown.CLOSEST else []
    captions = [_caption(which, sample) for sample in ranked]
    if generated.kind is DatasetKind.SIGNALS:
        signals = _signals(library, settings, shown, indices)
        if not nearest:
            return signal_sheet(signals, captions, TITLES[which])
        return signal_pairs_sheet(signals, _signals(library, settings, other, nearest), captions, TITLES[which])
    images = _images(library, settings, shown, indices)
    if not nearest:
        return mixed_sheet(images, captions, TITLES[which])
    beside = _images(library, settings, other, nearest)
    return pairs_sheet([*map(_pixels, images)], [*map(_pixels, beside)], captions, TITLES[which])


def _images(library: Library, settings: Settings, dataset: Dataset, indices: Sequence[int]) -> list[Image.Image]:
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as opened:
        assert isinstance(opened, ImagesDataset)
        return [opened.image(index) for index in indices]


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)


def _signals(library: Library, settings: Settings, dataset: Dataset, indices: Sequence[int]) -> NDArray[np.float32]:
    """Return signals [n, C, L], reading the file once in its order."""
    order = np.argsort(indices, kind="stable")
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as opened:
        assert isinstance(opened, SignalsDataset)
        (batch,) = opened.batches(len(indices), indices=[indices[position] for position in order])
    signals = np.empty(batch.inputs.shape, np.float32)
    signals[order] = batch.inputs
    return signals


def _caption(which: Shown, sample: EvaluationSample) -> str:
    if which is Shown.DENSEST:
        return f"{sample.balls} balls"
    distance = f"{sample.distance:.3g}"
    return f"{distance}, {sample.label}" if sample.label else distance
