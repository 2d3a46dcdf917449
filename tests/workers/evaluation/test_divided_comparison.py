"""A comparison by shards of pairs is the undivided one to the bit, whatever the shards and their order."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from faceter.contracts.evaluations import EvaluationRequest
from tests.workers.evaluation.samples import Floats, arrangements, gaussian
from tests.workers.jobs.local_division import LocalDivision
from tests.workers.jobs.test_journal import equal
from workers.evaluation.comparison import compare
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.metrics import compute_metrics
from workers.jobs.division import Shard


def shuffled(shards: list[Shard]) -> list[Shard]:
    return [shards[place] for place in np.random.default_rng(0).permutation(len(shards))]


@pytest.mark.parametrize("arranged", arrangements)
@pytest.mark.parametrize("size", [1.0, 9_000.0, 30_000.0])
def test_any_division_gives_the_same_bits(arranged: Callable[[Floats], Floats], size: float) -> None:
    real, generated = arranged(gaussian(300, 20)), arranged(0.9 * gaussian(250, 20, seed=1) + 0.1)
    division = LocalDivision(size, shuffled)
    found = division.run(lambda: compare(real, generated, [2, 5], division=division))
    assert equal(found, compare(real, generated, [2, 5]))
    assert {name: len(shards) > 1 for name, shards in division.rounds.items()} == {"neighbors": True, "between": True}


def test_shards_are_of_whole_blocks_and_of_like_size() -> None:
    division = LocalDivision(20_000.0)
    division.run(lambda: compare(gaussian(300, 20), gaussian(250, 20, seed=1), [5], division=division))
    between = division.rounds["between"]
    assert [(shard.start, shard.stop) for shard in between] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert sum(shard.cost for shard in between) == 300 * 250
    assert {shard.stage for shard in division.rounds["neighbors"]} == {"real", "generated"}
    assert max(shard.cost for shard in division.rounds["neighbors"]) <= 20_000


def test_metrics_beside_the_distances_are_divided_too() -> None:
    real, generated = (FeatureSet(gaussian(count, 12, seed), np.arange(count)) for seed, count in enumerate((150, 140)))
    request = EvaluationRequest(reference_id="dts_a", generated_id="dts_b", bootstrap=5)
    division = LocalDivision(400_000.0, shuffled)
    found = division.run(lambda: compute_metrics(real, generated, request, division=division)).metrics
    expected = compute_metrics(real, generated, request).metrics
    stages = Counter(shard.stage for shard in division.rounds["neighbors"])
    assert (stages["fid"], stages["kid"] > 1) == (1, True)
    for metric, item in expected.items():
        assert found[metric].model_copy(update={"seconds": item.seconds}) == item
