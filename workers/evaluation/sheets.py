"""Contact sheets of the samples worth looking at; for the check for copying, beside the real ones nearest to them."""

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
from faceter.datasets.shown import ShownSamples
from faceter.datasets.signals import SignalsDataset
from faceter.store.library import Library
from workers.figures.contact_sheet import MOST, mixed_sheet, signal_sheet
from workers.figures.pairs import MOST_PAIRS, pairs_sheet, signal_pairs_sheet
from workers.figures.pixels import Pixels

TITLES = {
    Shown.OUTSIDE: "generated samples in no real ball, the farthest first",
    Shown.UNCOVERED: "real samples that no generated one covers, the farthest first",
    Shown.DENSEST: "generated samples in most real balls",
    Shown.CLOSEST: "generated samples nearest to a real one, beside it",
}


def sheet(
    library: Library, settings: Settings, samples: ShownSamples, which: Shown, reference: Dataset, generated: Dataset
) -> bytes | None:
    """Return a contact sheet as a PNG file; None for features, which cannot be looked at, or if there are no samples.

    Args:
        library: Has the files.
        settings: Limits.
        samples: How they lie among each other.
        which: What is shown.
        reference: The dataset of real samples.
        generated: Of generated ones.
    """
    if generated.kind is DatasetKind.FEATURES:
        return None
    most = MOST_PAIRS if which is Shown.CLOSEST else MOST
    chosen = [samples.sample(which, int(row)) for row in samples.order(which)[:most]]
    if not chosen:
        return None
    shown, other = (reference, generated) if which is Shown.UNCOVERED else (generated, reference)
    indices = [sample.index for sample in chosen]
    nearest = [sample.nearest_index for sample in chosen] if which is Shown.CLOSEST else []
    captions = [_caption(which, sample) for sample in chosen]
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
    """Return signals [n, C, L]; the file is read once, in its order."""
    order = np.argsort(indices, kind="stable")
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as opened:
        assert isinstance(opened, SignalsDataset)
        (batch,) = opened.batches(len(indices), indices=[indices[place] for place in order])
    found = np.empty(batch.inputs.shape, np.float32)
    found[order] = batch.inputs
    return found


def _caption(which: Shown, sample: EvaluationSample) -> str:
    if which is Shown.DENSEST:
        return f"{sample.balls} balls"
    words = f"{sample.distance:.3g}"
    return f"{words}, {sample.label}" if sample.label else words
