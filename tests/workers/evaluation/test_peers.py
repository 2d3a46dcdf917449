"""The metrics that torchmetrics has too, on the same features."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from tests.workers.evaluation.samples import gaussian
from workers.evaluation.frechet import frechet_distance, moments
from workers.evaluation.kernel_distance import squared_mmd

WIDTH = 24
REAL, GENERATED = gaussian(300, WIDTH), 0.8 * gaussian(260, WIDTH, seed=1) + 0.3


class Pixels(nn.Module):
    """Takes images whose pixels are the features themselves."""

    num_features = WIDTH

    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), -1)


def images(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows).reshape(len(rows), 1, 4, 6)


def test_frechet_distance() -> None:
    peer = FrechetInceptionDistance(feature=Pixels(), normalize=True, input_img_size=(1, 4, 6)).set_dtype(torch.float64)
    peer.update(images(REAL), real=True)
    peer.update(images(GENERATED), real=False)
    assert float(peer.compute()) == pytest.approx(frechet_distance(moments(REAL), moments(GENERATED)), rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_kernel_distance() -> None:
    """With subsets as large as the smaller set, of sets of one size, there is only one subset."""
    real = REAL[:260]
    peer = KernelInceptionDistance(feature=Pixels(), normalize=True, subsets=2, subset_size=260)
    peer.set_dtype(torch.float64)
    peer.update(images(real), real=True)
    peer.update(images(GENERATED), real=False)
    mean, deviation = peer.compute()
    assert float(mean) == pytest.approx(squared_mmd(real, GENERATED), rel=1e-6)
    assert float(deviation) == pytest.approx(0, abs=1e-9)
