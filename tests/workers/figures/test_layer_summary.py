"""The image of layers: how good formulas are, how good they could be, which concepts they use."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle, StepPatch
from numpy.typing import NDArray

from faceter.contracts.explanations import ConceptUse, LayerSummary
from tests.workers.figures.images import opened
from workers.figures.layer_summary import MAX_CONCEPTS, LayerUnits, layers_figure, layers_png


def layer(units: int = 60, concepts: int = 15, name: str = "relu_12", concept: str = "concept") -> LayerUnits:
    rng = np.random.default_rng(units)
    single = rng.beta(2, 12, units)
    scores = single * rng.uniform(1, 1.5, units)
    uses = [
        ConceptUse(concept=f"{concept} {index}", category=("object", "color")[index % 2], units=40 - 2 * index)
        for index in range(concepts)
    ]
    summary = LayerSummary(
        layer=name, shape=[64, 7, 7], units=64, explained=units, at_ceiling=min(units, 7), most_used=uses
    )
    return LayerUnits(summary, scores, single, scores * rng.uniform(1, 2, units))


def row(made: LayerUnits) -> list[Axes]:
    return layers_figure([made]).axes


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_equal_layers_make_equal_files() -> None:
    made = layers_png([layer(), layer(30)], "resnet")
    assert made == layers_png([layer(), layer(30)], "resnet")
    assert made != layers_png([layer(), layer(31)], "resnet")
    assert opened(made).shape[1] == 1200


def test_each_layer_is_a_row_under_its_name() -> None:
    layers = [layer(name=f"relu_{index}") for index in range(3)]
    figure = layers_figure(layers, "resnet")
    assert len(figure.axes) == 9
    told = [text.get_text() for text in figure.texts if text.get_text() != "resnet"]
    assert told == [f"relu_{index}:  60 of 64 units explained" for index in range(3)]
    heights = [len(opened(layers_png(layers[:count]))) for count in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 300


def test_formulas_and_single_concepts_are_counted_in_the_same_bins() -> None:
    made = layer()
    histogram = row(made)[0]
    filled = {
        str(patch.get_label()): patch.get_data()
        for patch in histogram.patches
        if isinstance(patch, StepPatch) and patch.get_label()
    }
    names = ["single concepts", "formulas"]
    values = [made.concept_scores, made.scores]
    assert list(filled) == [f"{name}, {found.mean():.3f} on average" for name, found in zip(names, values, strict=True)]
    (_, edges, _), (_, others, _) = filled.values()
    np.testing.assert_array_equal(edges, others)
    for (counts, _, _), found in zip(filled.values(), values, strict=True):
        np.testing.assert_array_equal(counts, np.histogram(found, edges)[0])
        assert np.sum(counts) == 60, "none is outside"


def test_scores_are_placed_over_their_ceilings_beside_the_diagonal() -> None:
    made = layer()
    scatter = row(made)[1]
    [points] = [found for found in scatter.collections if isinstance(found, PathCollection)]
    np.testing.assert_allclose(np.asarray(points.get_offsets()), np.stack([made.ceilings, made.scores], axis=1))
    assert scatter.get_xlim() == scatter.get_ylim()
    assert made.ceilings.max() < scatter.get_xlim()[1]
    assert len(scatter.get_lines()) == 1
    assert words(scatter) == ["dashed: at its ceiling\n7 of 60 are"]


@pytest.mark.parametrize("concepts", [1, 5, 12, 20])
def test_the_most_used_concepts_are_bars_in_order_the_first_on_top(concepts: int) -> None:
    made = layer(concepts=concepts)
    bars = row(made)[2]
    found = {
        round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in bars.patches if isinstance(bar, Rectangle)
    }
    uses = made.summary.most_used[:MAX_CONCEPTS]
    assert found == {place: use.units for place, use in enumerate(uses)}
    assert [label.get_text() for label in bars.get_yticklabels()] == [use.concept for use in uses]
    assert words(bars) == [str(use.units) for use in uses]
    assert bars.yaxis_inverted()
    legend = bars.get_legend()
    assert (legend is not None) == (concepts > 1), "one category needs no legend"


def test_concepts_of_equal_name_are_two_bars() -> None:
    made = layer(concepts=2)
    uses = [ConceptUse(concept="orange", category=category, units=3) for category in ("color", "object")]
    same = LayerUnits(made.summary.model_copy(update={"most_used": uses}), made.scores, made.scores, made.ceilings)
    assert len(row(same)[2].patches) == 2


@pytest.mark.parametrize("layers", [[], [layer(0, concepts=0)]], ids=["no layer", "no unit explained"])
def test_no_data_gives_a_message(layers: list[LayerUnits]) -> None:
    axes = layers_figure(layers, "$x^").axes
    assert len(axes) == 3
    assert all(len(words(one)) == 1 for one in axes)
    opened(layers_png(layers, "$x^"))


def constant(value: float) -> LayerUnits:
    values: NDArray[np.float64] = np.full(3, value)
    return LayerUnits(layer(3).summary, values, values, values)


@pytest.mark.parametrize("value", [0.0, 1e-6, 1.0])
def test_units_of_one_iou_are_all_in_view(value: float) -> None:
    histogram, scatter, _ = row(constant(value))
    for axes in (histogram, scatter):
        low, high = axes.get_xlim()
        assert low <= value <= high
    opened(layers_png([constant(value)]))


@pytest.mark.parametrize(
    "name", ["_hidden", "$x^ " * 30, "量子化", "a name that is much longer than there is room for"]
)
def test_any_names_stay_in_the_image(name: str) -> None:
    made = layer(name=name * 3, concept=name)
    uses = [use.model_copy(update={"category": name + use.category}) for use in made.summary.most_used]
    told = LayerUnits(made.summary.model_copy(update={"most_used": uses}), made.scores, made.scores, made.ceilings)
    image = opened(layers_png([told], name))
    assert (image[:, -4:] == 255).all()
    assert (image[:, :4] == 255).all()
