"""Inputs of an export as options: names, open sizes, types and ranges."""

import pytest
import torch

from faceter.cli.export_inputs import parse_inputs, parse_sizes
from faceter.export.errors import ExportError
from faceter.export.inputs import ExportInput


def test_a_single_shape_of_numbers_has_an_open_batch() -> None:
    assert parse_inputs(["1,3,32,32"]) == [ExportInput("image", ("batch", 3, 32, 32))]
    assert parse_inputs(["8,3"], unnamed="signal", static_batch=True) == [ExportInput("signal", (8, 3))]
    assert parse_inputs(["N,3,H,W"]) == [ExportInput("image", ("N", 3, "H", "W"))]
    assert parse_inputs(["image=1,3,8,8"]) == [ExportInput("image", (1, 3, 8, 8))]


def test_several_inputs_with_types_and_ranges() -> None:
    inputs = parse_inputs(
        ["input_ids=N,L", "mask=N, L"], ["input_ids=int64", "mask=bool"], ["input_ids=0:30521"], unnamed="image"
    )
    assert inputs == [
        ExportInput("input_ids", ("N", "L"), "int64", (0, 30521)),
        ExportInput("mask", ("N", "L"), "bool"),
    ]
    assert parse_sizes(["L=16"], inputs) == {"L": 16}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shapes": []}, "Give --input-shape, such as image=N,3,H,W"),
        ({"shapes": ["x=1,0,8"]}, "1,3,32,32.*not 'x=1,0,8'"),
        ({"shapes": ["x=1;2"]}, "not 'x=1;2'"),
        ({"shapes": ["1,2", "y=1,2"]}, "'1,2' needs a name"),
        ({"shapes": ["x=N", "x=N"]}, "gives 'x' twice"),
        ({"shapes": ["x=1,2"], "static_batch": True}, "write a fixed size as a number"),
        ({"shapes": ["x=N"], "dtypes": ["y=int64"]}, "names no input; --input-shape gives: x"),
        ({"shapes": ["x=N"], "dtypes": ["x=complex64"]}, "the type is one of float32, .*int64"),
        ({"shapes": ["x=N"], "dtypes": ["int64"]}, "takes the name of an input and a value, such as input_ids=int64"),
        ({"shapes": ["x=N"], "ranges": ["x=5:1"]}, "the smallest and the largest value, such as 0:30521"),
        ({"shapes": ["x=N"], "ranges": ["x=5"]}, "not '5'"),
    ],
)
def test_options_of_another_form_are_refused(options: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        parse_inputs(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"), [("H", "such as H=256"), ("H=0", "such as H=256"), ("W=8", "there are: H, N")]
)
def test_sizes_to_try_must_be_open_ones(text: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        parse_sizes([text], [ExportInput("image", ("N", 3, "H", 8))])


def test_examples_have_the_type_the_sizes_and_the_range() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = ExportInput("ids", ("N", "L"), "int64", (5, 7)).example({"N": 3, "L": 40}, generator)
    assert (ids.shape, ids.dtype, set(ids.flatten().tolist())) == ((3, 40), torch.int64, {5, 6, 7})
    mask = ExportInput("mask", (200,), "bool").example({}, generator)
    assert mask.dtype == torch.bool
    assert mask.float().mean().item() == pytest.approx(0.5, abs=0.15)
    image = ExportInput("image", (1000,), "float32", (0, 255)).example({}, generator)
    assert 0 <= image.min() < 5
    assert 250 < image.max() <= 255
