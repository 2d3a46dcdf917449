"""What an explanation may be asked for."""

from typing import Any

import pytest
from pydantic import ValidationError

from faceter.contracts.explanations import LONGEST_FORMULA, ExplanationRequest, Operator


def request(**fields: Any) -> ExplanationRequest:
    return ExplanationRequest.model_validate({"dataset_id": "dts_a", "layer": "relu", **fields})


@pytest.mark.parametrize(
    ("layer", "layers"), [("relu", ["relu"]), (["a"], ["a"]), (["b", "a", "b"], ["b", "a"]), (["a"] * 50, ["a"])]
)
def test_layers_keep_their_order_without_duplicates(layer: Any, layers: list[str]) -> None:
    assert request(layer=layer).layers == layers


@pytest.mark.parametrize("layer", [None, 3, [], ["a"] * 51, [1], [["a"]]])
def test_an_invalid_layer_gives_one_message(layer: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        request(layer=layer)
    [error] = caught.value.errors()
    assert error["loc"] == ("layer",)
    assert "must be the name of a tensor, or a list of 1 to 50 of them" in error["msg"]


def test_operators_come_in_the_order_in_which_formulas_are_made() -> None:
    assert request().joined_by == [Operator.OR, Operator.AND, Operator.AND_NOT]
    assert request(operators=["neighbors", "and", "or", "and"]).joined_by == [
        Operator.OR,
        Operator.AND,
        Operator.NEIGHBORS,
    ]
    assert request(operators=["and_not"]).joined_by == [Operator.AND_NOT]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"operators": []}, "at least 1"),
        ({"operators": ["xor"]}, "Input should be 'or'"),
        ({"units": []}, "at least 1"),
        ({"units": [-1]}, "greater than or equal to 0"),
        ({"max_length": 0}, "greater than or equal to 1"),
        ({"max_length": LONGEST_FORMULA + 1}, "less than or equal to"),
        ({"beam_size": 0}, "greater than or equal to 1"),
        ({"beam_size": 101}, "less than or equal to 100"),
        ({"complexity_penalty": 0}, "greater than 0"),
        ({"complexity_penalty": 1.01}, "less than or equal to 1"),
        ({"threshold": float("inf")}, "finite number"),
        ({"threshold": float("nan")}, "finite number"),
        ({"resolution": [112]}, "at least 2"),
        ({"resolution": [112, 112, 3]}, "at most 2"),
        ({"resolution": [0, 112]}, "greater than or equal to 1"),
        ({"resolution": [112, 1025]}, "less than or equal to 1024"),
        ({"min_firings": 0}, "greater than or equal to 1"),
        ({"derived_concepts": ["texture"]}, "Input should be 'color'"),
        ({"search": "greedy"}, "Input should be 'beam'"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"channels": [1]}, "Extra inputs"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        request(**fields)
