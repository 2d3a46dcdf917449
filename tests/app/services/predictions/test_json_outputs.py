import json

import numpy as np
import pytest

from app.services.predictions.json_outputs import joined, to_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([[1, 2]], np.int64), [[1, 2]]),
        (np.float32(0.5), 0.5),
        (np.array(["a", "b"], object), ["a", "b"]),
        ([np.array([1.5]), np.array([[2.0]])], [[1.5], [[2.0]]]),
        ([{3: 0.25, 7: 0.75}, {3: 1.0, 7: 0.0}], [{"3": 0.25, "7": 0.75}, {"3": 1.0, "7": 0.0}]),
        ({"cat": np.float32(0.5)}, {"cat": 0.5}),
        (None, None),
    ],
)
def test_every_kind_of_value_becomes_json(value: object, expected: object) -> None:
    answer = to_json(value)
    assert answer == expected
    assert json.loads(json.dumps(answer)) == expected


def test_outputs_of_several_runs_are_joined() -> None:
    assert joined([np.array([[1], [2]]), np.array([[3]])]).tolist() == [[1], [2], [3]]
    assert joined([[{"a": 1}], [{"a": 2}, {"a": 3}]]) == [{"a": 1}, {"a": 2}, {"a": 3}]
