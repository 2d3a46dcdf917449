import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import relation_maps as reference
from workers.quantization.tuning.student.relation_maps import RelationMapWeights, map_difference, relation_map


def test_two_channels_with_known_cosines() -> None:
    """Channels at 60° in the first sample, at a right angle in the second, opposite in the third."""
    features = torch.tensor(
        [
            [[[1.0, 0.0]], [[0.5, math.sqrt(3) / 2]]],
            [[[2.0, 0.0]], [[0.0, 7.0]]],
            [[[1.0, 1.0]], [[-3.0, -3.0]]],
        ]
    )
    maps = relation_map(features)
    assert maps.shape == (3, 2, 2)
    expected = torch.tensor([[[1, 0.5], [0.5, 1]], [[1, 0], [0, 1]], [[1, -1], [-1, 1]]])
    torch.testing.assert_close(maps, expected)


def test_the_difference_is_the_mean_over_samples_and_pairs() -> None:
    teacher = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    student = torch.tensor([[[5.0, 0.0], [5.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert map_difference(teacher, student).item() == pytest.approx(2 / 8)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    shape=st.sampled_from([(2, 3, 4), (1, 4, 3, 2), (3, 2, 2, 2, 2), (2, 1, 5)]),
    dead=st.booleans(),
)
def test_against_loops(seed: int, shape: tuple[int, ...], dead: bool) -> None:
    rng = np.random.default_rng(seed)
    teacher, student = (rng.normal(size=shape) * 10 ** rng.uniform(-2, 2) for _ in range(2))
    if dead:
        student[0, 0] = 0.0
    torch.testing.assert_close(
        relation_map(torch.from_numpy(student)).double(),
        torch.from_numpy(reference.relation_map(student)),
        rtol=1e-4,
        atol=1e-5,
    )
    difference = map_difference(torch.from_numpy(teacher), torch.from_numpy(student))
    assert difference.item() == pytest.approx(reference.map_difference(teacher, student), rel=1e-4, abs=1e-5)


def test_relation_maps_are_scale_invariant() -> None:
    """P and Q may have other ranges: each channel may be scaled as it likes."""
    features = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    scales = torch.tensor([0.1, 1.0, 20.0, 3.0]).reshape(1, 4, 1, 1)
    assert map_difference(features, features * scales).item() < 1e-6


def test_relation_maps_are_per_sample() -> None:
    """A Gram matrix over the batch would mix them."""
    features = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    maps = relation_map(features)
    torch.testing.assert_close(maps[2:3], relation_map(features[2:3]))


def test_a_channel_of_zeros_has_no_relations_and_finite_gradients() -> None:
    features = torch.zeros(1, 3, 4)
    features[0, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    features.requires_grad_(True)
    maps = relation_map(features)
    assert maps.flatten().tolist() == pytest.approx([0, 0, 0, 0, 1, 0, 0, 0, 0])
    torch.autograd.backward(maps.sum())
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.abs().max() < 10


def test_maps_are_float32_under_autocast() -> None:
    features = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        maps = relation_map(features)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, relation_map(features))


def test_weights_are_equal_at_first_then_follow_the_differences() -> None:
    weights = RelationMapWeights(2, decay=0.75)
    assert weights.values.tolist() == [0.5, 0.5]
    weights.update(torch.tensor([0.1, 0.5]))
    weights.update(torch.tensor([0.3, 0.7]))
    assert weights.values.tolist() == [0.5, 0.5], "an epoch counts when it ends"
    weights.end_epoch()
    assert weights.values[1].item() == pytest.approx(math.exp(0.6) / (math.exp(0.2) + math.exp(0.6)))
    weights.update(torch.tensor([1.0, 0.2]))
    weights.end_epoch()
    averages = [0.75 * 0.2 + 0.25 * 1.0, 0.75 * 0.6 + 0.25 * 0.2]
    assert weights.values[0].item() == pytest.approx(math.exp(averages[0]) / sum(math.exp(v) for v in averages))
    assert weights.values.sum().item() == pytest.approx(1)


def test_weights_resume_from_their_state() -> None:
    whole, first, second = (RelationMapWeights(3, decay=0.5) for _ in range(3))
    differences = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))

    def take(weights: RelationMapWeights, rows: torch.Tensor) -> None:
        for row in rows:
            weights.update(row)
        weights.end_epoch()

    take(whole, differences[:3])
    take(first, differences[:3])
    whole.update(differences[3])
    first.update(differences[3])
    second.restore(first.state())
    take(whole, differences[4:])
    take(second, differences[4:])
    assert torch.equal(whole.values, second.values)
