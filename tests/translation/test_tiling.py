"""Tiles against the whole: what is made part by part is what ONNX Runtime makes of the whole image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.translation.stages import plan_stages
from faceter.translation.tiling import kept_bytes, run_in_parts
from tests.translation import generators

Values = NDArray[np.float32]
ENGINE = OnnxRuntimeEngine()
AMPLE = 1 << 30


class Whole:
    """A tensor in memory, which counts how often each of its values was written."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.written = np.zeros(values.shape[1:], int)

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Values:
        assert rows[0] >= 0
        assert columns[0] >= 0
        part = self.values[:, rows[0] : rows[1], columns[0] : columns[1]]
        assert part.shape[1:] == (rows[1] - rows[0], columns[1] - columns[0])
        return np.ascontiguousarray(part)

    def write(self, part: Values, row: int, column: int) -> None:
        place = (slice(row, row + part.shape[1]), slice(column, column + part.shape[2]))
        self.values[:, *place] = part
        self.written[place] += 1


def image(height: int, width: int, seed: int = 0) -> Values:
    """Return an image whose left and right, above and below differ: a tile's statistics are not the whole's."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-0.7, 0.7, height)[:, None] + np.linspace(-0.3, 0.3, width)
    return (slope + rng.normal(0, 0.2, (3, height, width))).clip(-1, 1).astype(np.float32)


def whole(content: bytes, values: Values) -> Values:
    model = ENGINE.load(content, threads=1)
    made: Values = model.run({model.inputs[0].name: values[None]})[model.outputs[0].name][0]
    model.close()
    return made


def in_parts(
    content: bytes,
    values: Values,
    folder: Path,
    *,
    tile: int | None = None,
    memory: int = AMPLE,
    interrupt: Interrupt | None = None,
) -> tuple[Values, int]:
    target = Whole(np.full_like(values, np.nan))
    size = (values.shape[1], values.shape[2])
    count = run_in_parts(
        plan_stages(content),
        ENGINE,
        Whole(values),
        target,
        size,
        folder=folder,
        memory=memory,
        tile=tile,
        interrupt=interrupt,
    )
    assert (target.written == 1).all()
    return target.values, count


GENERATORS: dict[str, Callable[[], bytes]] = {
    "resnet": generators.resnet,
    "resnet without norms": lambda: generators.resnet(norm="none", blocks=9),
    "resnet with batch norms": lambda: generators.resnet(norm="batch"),
    "resnet, nearest": lambda: generators.resnet(up="nearest"),
    "resnet, linear": lambda: generators.resnet(up="linear"),
    "unet": generators.unet,
    "unet, deep, without norms": lambda: generators.unet(depth=6, norm=False),
}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 192), (192, 64)])
@pytest.mark.parametrize("tile", [32, 52, 1000])
def test_tiles_give_what_the_whole_gives(name: str, height: int, width: int, tile: int, tmp_path: Path) -> None:
    content, values = GENERATORS[name](), image(height, width)
    made, _ = in_parts(content, values, tmp_path, tile=tile)
    assert np.abs(made - whole(content, values)).max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(36, 44), (68, 100), (4 * 37, 4 * 23)])
def test_sizes_that_no_tile_divides(height: int, width: int, tmp_path: Path) -> None:
    content, values = generators.resnet(), image(height, width)
    made, count = in_parts(content, values, tmp_path, tile=28)
    assert np.abs(made - whole(content, values)).max() < 1e-4
    assert count == -(-height // 28) * -(-width // 28)


def test_a_tile_alone_would_show_its_seams() -> None:
    """Says that the tests above can fail: by its own statistics a tile comes out far from the whole."""
    content, values = generators.resnet(), image(128, 128)
    tile = whole(content, values[:, :64, :64])
    assert np.abs(tile - whole(content, values)[:, :64, :64]).max() > 0.1


def test_less_memory_means_more_parts_and_the_same_image(tmp_path: Path) -> None:
    content, values = generators.resnet(), image(256, 256)
    expected, counts = whole(content, values), []
    for memory in (1 << 30, 1 << 23, 1 << 21):
        made, count = in_parts(content, values, tmp_path, memory=memory)
        assert np.abs(made - expected).max() < 1e-4
        counts.append(count)
    assert counts[0] == 1
    assert counts == sorted(set(counts))


def test_a_quantized_generator_is_cut_between_its_codes(tmp_path: Path) -> None:
    content, values = generators.quantized(generators.resnet()), image(96, 128)
    made, _ = in_parts(content, values, tmp_path, tile=40)
    difference = np.abs(made - whole(content, values))
    assert difference.mean() < 1e-3  # a value at the edge of two codes may fall on either
    assert difference.max() < 0.2


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    in_parts(generators.resnet(), image(64, 64), tmp_path, tile=32)
    assert not list(tmp_path.iterdir())


def test_what_is_kept_on_disk_is_told_before() -> None:
    """Two convolutions of stride 2: 8 channels at full size and 16 at half, then 32 at a quarter twice, and back."""
    plan = plan_stages(generators.resnet())
    size = 8 + 16 / 4
    assert kept_bytes(plan, (400, 300)) == int(400 * 300 * 4 * size)


def test_an_interrupt_stops_it(tmp_path: Path) -> None:
    interrupt = Interrupt()
    interrupt.trigger()
    with pytest.raises(FaceterError, match="stopped") as caught:
        in_parts(generators.resnet(), image(64, 64), tmp_path, interrupt=interrupt)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED


def test_an_interrupt_between_two_parts_stops_it(tmp_path: Path) -> None:
    interrupt = Interrupt()

    class Stopping(Whole):
        reads = 0

        def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Values:
            self.reads += 1
            if self.reads == 2:
                interrupt.trigger()
            return super().read(rows, columns)

    values = image(64, 64)
    source = Stopping(values)
    with pytest.raises(FaceterError, match="stopped"):
        run_in_parts(
            plan_stages(generators.resnet()), ENGINE, source, Whole(values.copy()), (64, 64),
            folder=tmp_path, memory=AMPLE, tile=32, interrupt=interrupt,
        )  # fmt: skip
    assert source.reads == 2


def test_what_no_stage_reads_any_more_is_off_the_disk(small_disk: Path) -> None:
    """All tensors together take 600 KiB, those of any two stages less than 200; the disk has 512."""
    content, values = generators.resnet(), image(64, 64)
    made, _ = in_parts(content, values, small_disk, tile=32)
    assert np.abs(made - whole(content, values)).max() < 1e-4


def test_a_disk_too_small_is_said_before_anything_is_run(small_disk: Path) -> None:
    with pytest.raises(FaceterError, match=r"up to 3 MiB.*`scale`") as caught:
        in_parts(generators.resnet(), image(256, 256), small_disk, tile=64)
    assert caught.value.kind is ProblemKind.STORAGE_FULL


def test_a_large_image_through_a_small_generator_shows_no_seams(tmp_path: Path) -> None:
    """Far below the 1/255 in the mean and 4/255 at most that are asked for, of values in [0, 1]."""
    content, values = generators.resnet(channels=4, blocks=2), image(1536, 2048)
    made, count = in_parts(content, values, tmp_path, tile=512)
    difference = np.abs(made - whole(content, values)) / 2
    assert count == 12
    assert difference.mean() <= 0.05 / 255
    assert difference.max() <= 0.3 / 255


def test_statistics_of_many_values_are_nearer_to_the_truth_than_the_whole_ones(tmp_path: Path) -> None:
    """ONNX Runtime sums up millions of float32 values in float32; that is most of what the test above measures."""
    made = generators.GeneratorBuilder()
    made.norm(3)
    made.add("Neg")
    made.nodes.insert(0, made.nodes.pop())
    made.nodes[0].input[0], made.nodes[1].input[0] = "image", made.nodes[0].output[0]
    made.last = made.nodes[1].output[0]
    content, values = made.content(), image(1536, 2048)
    scale, shift = (onnx.numpy_helper.to_array(weight)[:, None, None] for weight in made.initializers)
    exact = -values.astype(np.float64)
    mean, variance = exact.mean((1, 2), keepdims=True), exact.var((1, 2), keepdims=True)
    exact = (exact - mean) / np.sqrt(variance + 1e-5) * scale + shift
    ours, _ = in_parts(content, values, tmp_path, tile=512)
    assert np.abs(ours - exact).max() < 1e-5 < np.abs(whole(content, values) - exact).max()
