"""Tiled runs against ONNX Runtime on the whole image."""

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
from faceter.translation.tiling import run_tiled, spill_bytes
from tests.translation import generators

Values = NDArray[np.float32]
ENGINE = OnnxRuntimeEngine()
AMPLE = 1 << 30


class MemoryTensor:
    """A tensor in memory that counts how often each value was written."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.written = np.zeros(values.shape[1:], int)

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Values:
        assert rows[0] >= 0
        assert columns[0] >= 0
        tile = self.values[:, rows[0] : rows[1], columns[0] : columns[1]]
        assert tile.shape[1:] == (rows[1] - rows[0], columns[1] - columns[0])
        return np.ascontiguousarray(tile)

    def write(self, tile: Values, row: int, column: int) -> None:
        place = (slice(row, row + tile.shape[1]), slice(column, column + tile.shape[2]))
        self.values[:, *place] = tile
        self.written[place] += 1


def image(height: int, width: int, seed: int = 0) -> Values:
    """Return an image with gradients, so that a tile's statistics differ from those of the whole."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-0.7, 0.7, height)[:, None] + np.linspace(-0.3, 0.3, width)
    return (slope + rng.normal(0, 0.2, (3, height, width))).clip(-1, 1).astype(np.float32)


def whole(content: bytes, values: Values) -> Values:
    model = ENGINE.load(content, threads=1)
    output: Values = model.run({model.inputs[0].name: values[None]})[model.outputs[0].name][0]
    model.close()
    return output


def tiled(
    content: bytes,
    values: Values,
    folder: Path,
    *,
    tile: int | None = None,
    memory: int = AMPLE,
    interrupt: Interrupt | None = None,
) -> tuple[Values, int]:
    target = MemoryTensor(np.full_like(values, np.nan))
    size = (values.shape[1], values.shape[2])
    count = run_tiled(
        plan_stages(content),
        ENGINE,
        MemoryTensor(values),
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
def test_tiles_equal_the_whole(name: str, height: int, width: int, tile: int, tmp_path: Path) -> None:
    content, values = GENERATORS[name](), image(height, width)
    output, _ = tiled(content, values, tmp_path, tile=tile)
    assert np.abs(output - whole(content, values)).max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(36, 44), (68, 100), (4 * 37, 4 * 23)])
def test_sizes_that_no_tile_divides(height: int, width: int, tmp_path: Path) -> None:
    content, values = generators.resnet(), image(height, width)
    output, count = tiled(content, values, tmp_path, tile=28)
    assert np.abs(output - whole(content, values)).max() < 1e-4
    assert count == -(-height // 28) * -(-width // 28)


def test_a_tile_with_its_own_statistics_differs_from_the_whole() -> None:
    """The tests above can fail: with its own statistics a tile is far from the whole."""
    content, values = generators.resnet(), image(128, 128)
    tile = whole(content, values[:, :64, :64])
    assert np.abs(tile - whole(content, values)[:, :64, :64]).max() > 0.1


def test_less_memory_means_more_tiles_and_the_same_image(tmp_path: Path) -> None:
    content, values = generators.resnet(), image(256, 256)
    expected, counts = whole(content, values), []
    for memory in (1 << 30, 1 << 23, 1 << 21):
        output, count = tiled(content, values, tmp_path, memory=memory)
        assert np.abs(output - expected).max() < 1e-4
        counts.append(count)
    assert counts[0] == 1
    assert counts == sorted(set(counts))


def test_a_quantized_generator_is_tileable(tmp_path: Path) -> None:
    content, values = generators.quantized(generators.resnet()), image(96, 128)
    output, _ = tiled(content, values, tmp_path, tile=40)
    difference = np.abs(output - whole(content, values))
    assert difference.mean() < 1e-3  # a value between two codes may be rounded to either
    assert difference.max() < 0.2


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    tiled(generators.resnet(), image(64, 64), tmp_path, tile=32)
    assert not list(tmp_path.iterdir())


def test_spill_bytes_are_the_peak_size_on_disk() -> None:
    """Two convolutions of stride 2: 8 channels at full size and 16 at half, then 32 at a quarter twice, and back."""
    plan = plan_stages(generators.resnet())
    size = 8 + 16 / 4
    assert spill_bytes(plan, (400, 300)) == int(400 * 300 * 4 * size)


def test_an_interrupt_stops_the_run(tmp_path: Path) -> None:
    interrupt = Interrupt()
    interrupt.trigger()
    with pytest.raises(FaceterError, match="stopped") as caught:
        tiled(generators.resnet(), image(64, 64), tmp_path, interrupt=interrupt)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED


def test_an_interrupt_between_two_tiles_stops_the_run(tmp_path: Path) -> None:
    interrupt = Interrupt()

    class Stopping(MemoryTensor):
        reads = 0

        def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Values:
            self.reads += 1
            if self.reads == 2:
                interrupt.trigger()
            return super().read(rows, columns)

    values = image(64, 64)
    source = Stopping(values)
    with pytest.raises(FaceterError, match="stopped"):
        run_tiled(
            plan_stages(generators.resnet()), ENGINE, source, MemoryTensor(values.copy()), (64, 64),
            folder=tmp_path, memory=AMPLE, tile=32, interrupt=interrupt,
        )  # fmt: skip
    assert source.reads == 2


def test_tensors_that_no_later_stage_reads_are_deleted(small_disk: Path) -> None:
    """All tensors together take 600 KiB, those of any two stages less than 200; the disk has 512."""
    content, values = generators.resnet(), image(64, 64)
    output, _ = tiled(content, values, small_disk, tile=32)
    assert np.abs(output - whole(content, values)).max() < 1e-4


def test_too_little_disk_space_is_reported_before_anything_is_run(small_disk: Path) -> None:
    with pytest.raises(FaceterError, match=r"up to 3 MiB.*`scale`") as caught:
        tiled(generators.resnet(), image(256, 256), small_disk, tile=64)
    assert caught.value.kind is ProblemKind.STORAGE_FULL


def test_a_large_image_through_a_small_generator_shows_no_seams(tmp_path: Path) -> None:
    """Far below the required 1/255 in the mean and 4/255 at most, of values in [0, 1]."""
    content, values = generators.resnet(channels=4, blocks=2), image(1536, 2048)
    output, count = tiled(content, values, tmp_path, tile=512)
    difference = np.abs(output - whole(content, values)) / 2
    assert count == 12
    assert difference.mean() <= 0.05 / 255
    assert difference.max() <= 0.3 / 255


def test_statistics_of_many_values_are_more_accurate_than_onnx_runtimes(tmp_path: Path) -> None:
    """ONNX Runtime sums millions of float32 values in float32: most of the difference in the test above."""
    builder = generators.GeneratorBuilder()
    builder.norm(3)
    builder.add("Neg")
    builder.nodes.insert(0, builder.nodes.pop())
    builder.nodes[0].input[0], builder.nodes[1].input[0] = "image", builder.nodes[0].output[0]
    builder.last = builder.nodes[1].output[0]
    content, values = builder.content(), image(1536, 2048)
    scale, shift = (onnx.numpy_helper.to_array(weight)[:, None, None] for weight in builder.initializers)
    exact = -values.astype(np.float64)
    mean, variance = exact.mean((1, 2), keepdims=True), exact.var((1, 2), keepdims=True)
    exact = (exact - mean) / np.sqrt(variance + 1e-5) * scale + shift
    output, _ = tiled(content, values, tmp_path, tile=512)
    assert np.abs(output - exact).max() < 1e-5 < np.abs(whole(content, values) - exact).max()
