import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.engines.base import Interrupt
from faceter.translation.generator import LoadedGenerator, load_generator
from faceter.translation.peak_memory import ARENA_FACTOR, BYTES_PER_VALUE
from faceter.translation.translate import translate, translate_and_back
from faceter.vision.decoded_image import DecodedImage
from tests.translation import generators
from tests.translation.generators import GeneratorBuilder


def image(height: int, width: int, *, alpha: bool = False) -> DecodedImage:
    """Return a smooth image with some noise."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8)).resize((width, height))
    noisy = np.asarray(coarse) + rng.integers(-9, 10, (height, width, 3))
    return DecodedImage(
        noisy.clip(0, 255).astype(np.uint8),
        rng.integers(0, 256, (height, width), np.uint8) if alpha else None,
        ("first of 3 frames",) if alpha else (),
    )


def loaded(content: bytes, **preprocessing: Any) -> LoadedGenerator:
    given = Preprocessing(size=[64, 64], **preprocessing) if preprocessing else None
    return load_generator(content, ModelMetadata(preprocessing=given))


INVERTER = loaded(generators.inverter())
RESNET = loaded(generators.resnet())
UNET = loaded(generators.unet(channels=1, depth=8))


def not_tileable() -> bytes:
    """Return a generator that adds the mean of the image, so it is not tileable."""
    builder = GeneratorBuilder()
    builder.add("GlobalAveragePool", "image")
    builder.add("Add", "image", builder.last)
    return builder.content()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (2, 3), (33, 47), (64, 64)])
@pytest.mark.parametrize("generator", [INVERTER, RESNET, UNET], ids=["inverter", "resnet", "unet"])
def test_any_size_is_preserved(generator: LoadedGenerator, height: int, width: int, tmp_path: Path) -> None:
    output = translate(image(height, width), generator, folder=tmp_path)
    assert output.colour.shape == (height, width, 3)
    assert output.colour.dtype == np.uint8
    assert (output.alpha, output.tiles, output.warnings) == (None, 1, ())
    assert output.seconds > 0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 30), (99, 101)])
def test_inverted_colours_are_exact_whole_and_in_tiles(height: int, width: int, tmp_path: Path) -> None:
    original = image(height, width)
    for tile in (None, 32, "never"):
        output = translate(original, INVERTER, folder=tmp_path, tile=tile)
        assert (output.colour == 255 - original.colour).all()
        expected = -(-max(height, 33) // 32) * -(-max(width, 33) // 32) if tile == 32 else 1
        assert output.tiles == expected


def test_alpha_and_warnings_are_passed_on(tmp_path: Path) -> None:
    original = image(20, 30, alpha=True)
    output = translate(original, INVERTER, folder=tmp_path)
    assert output.alpha is original.alpha
    assert output.warnings == ("first of 3 frames",)


def test_the_models_preprocessing_is_used(tmp_path: Path) -> None:
    """Y = −x of values around a mean: 2 · mean − pixel, channel by channel in the model's order."""
    generator = loaded(
        generators.inverter(), scale=1.0, mean=[100.0, 110.0, 120.0], std=[50.0], channel_order=ChannelOrder.BGR
    )
    original = DecodedImage(np.full((8, 8, 3), [30, 130, 140], np.uint8))
    output = translate(original, generator, folder=tmp_path)
    assert output.colour[0, 0].tolist() == [240 - 30, 220 - 130, 200 - 140]


def test_tiles_and_whole_give_the_same_image(tmp_path: Path) -> None:
    original = image(333, 222)
    whole = translate(original, RESNET, folder=tmp_path, tile="never")
    tiled = translate(original, RESNET, folder=tmp_path, tile=96)
    little = translate(original, RESNET, folder=tmp_path, memory=4 << 20)
    assert (whole.tiles, tiled.tiles) == (1, 12)
    assert little.tiles > 1
    for output in (tiled, little):
        assert np.abs(output.colour.astype(int) - whole.colour).max() <= 1
        assert (output.colour == whole.colour).mean() > 0.99


def test_scale_limits_the_working_size(tmp_path: Path) -> None:
    original = image(120, 200)
    output = translate(original, INVERTER, folder=tmp_path, scale=50)
    assert output.warnings == ("translated at 50 x 30 and scaled back",)
    small = Image.fromarray(original.colour).resize((50, 30), Image.Resampling.LANCZOS)
    expected = Image.fromarray(255 - np.asarray(small)).resize((200, 120), Image.Resampling.LANCZOS)
    assert (output.colour == np.asarray(expected)).all()
    assert translate(original, INVERTER, folder=tmp_path, scale=200).warnings == ()


def test_images_are_resized_for_a_generator_of_fixed_size(tmp_path: Path) -> None:
    generator = loaded(generators.positioned(height=48, width=64))
    original = image(100, 90)
    output = translate(original, generator, folder=tmp_path)
    assert output.colour.shape == (100, 90, 3)
    assert output.warnings == ("resized to the generator's 64 x 48 and back",)
    assert np.abs(output.colour.astype(int) - (255 - original.colour)).mean() < 10
    assert "64 x 48 pixels only, since Add" in (generator.why_not_tileable() or "")


def test_a_fixed_size_is_kept_on_request(tmp_path: Path) -> None:
    content = generators.inverter(height=48, width=64, batch=1)
    generator = load_generator(content, ModelMetadata(), open_fixed=False)
    assert (generator.opened, generator.fixed_because, generator.signature.size) == (False, None, (48, 64))
    assert generator.why_not_tileable() == "it takes images of 64 x 48 pixels only"


def test_a_generator_exported_at_one_size_translates_at_any(tmp_path: Path) -> None:
    fixed, dynamic = loaded(generators.resnet(height=48, width=64, batch=1)), RESNET
    assert (fixed.opened, fixed.fixed_because, dynamic.opened) == (True, None, False)
    original = image(100, 91)
    expected = translate(original, dynamic, folder=tmp_path).colour
    output = translate(original, fixed, folder=tmp_path)
    assert output.warnings == ()
    assert np.abs(output.colour.astype(int) - expected).max() <= 1
    tiled = translate(original, fixed, folder=tmp_path, tile=48)
    assert tiled.tiles == 6
    assert np.abs(tiled.colour.astype(int) - expected).max() <= 1


def test_a_cycle_is_returned_side_by_side(tmp_path: Path) -> None:
    original = image(40, 50, alpha=True)
    output = translate_and_back(original, INVERTER, INVERTER, folder=tmp_path)
    assert output.colour.shape == (40, 150, 3)
    assert (output.colour[:, :50] == original.colour).all()
    assert (output.colour[:, 50:100] == 255 - original.colour).all()
    assert (output.colour[:, 100:] == original.colour).all()
    assert output.alpha is not None
    assert original.alpha is not None
    assert (output.alpha == np.hstack([original.alpha] * 3)).all()
    assert output.tiles == 2
    assert output.warnings == original.warnings


def test_a_cycle_at_a_working_size(tmp_path: Path) -> None:
    output = translate_and_back(image(40, 60), INVERTER, RESNET, folder=tmp_path, scale=30)
    assert output.colour.shape == (40, 180, 3)
    assert output.warnings == ("translated at 30 x 20 and scaled back",)


def test_too_large_an_image_without_tiles_is_refused_with_a_scale_that_works(tmp_path: Path) -> None:
    generator = loaded(not_tileable())
    reason = generator.why_not_tileable()
    assert reason is not None
    assert "GlobalAveragePool" in reason
    original = image(300, 400)
    memory = 1 << 20
    with pytest.raises(FaceterError, match=r"GlobalAveragePool.*`scale`") as caught:
        translate(original, generator, folder=tmp_path, memory=memory)
    assert caught.value.kind is ProblemKind.IMAGE_TOO_LARGE
    scale = int(caught.value.detail.partition("`scale` to ")[2].split()[0])
    assert 100 < scale < 400
    assert translate(original, generator, folder=tmp_path, memory=memory, scale=scale).colour.shape == (300, 400, 3)
    with pytest.raises(FaceterError, match="GlobalAveragePool") as caught:
        translate(original, generator, folder=tmp_path, tile=64)
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE


def test_too_large_an_image_with_tiles_disabled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceterError, match="`tile` is `never`") as caught:
        translate(image(300, 400), RESNET, folder=tmp_path, memory=1 << 20, tile="never")
    assert caught.value.kind is ProblemKind.IMAGE_TOO_LARGE


@pytest.mark.parametrize(("field", "value"), [("tile", 5), ("tile", 0), ("scale", 0), ("scale", -3)])
def test_invalid_sizes_are_refused(field: str, value: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {field: value}
    with pytest.raises(FaceterError) as caught:
        translate(image(8, 8), INVERTER, folder=tmp_path, **options)
    assert caught.value.kind is ProblemKind.INVALID_REQUEST
    assert caught.value.errors[0].field == field


def test_an_interrupt_stops_whole_and_tiled_translations(tmp_path: Path) -> None:
    for tile in (None, 64):
        interrupt = Interrupt()
        timer = threading.Timer(0.2, interrupt.trigger)
        timer.start()
        with pytest.raises(FaceterError, match="stopped") as caught:
            translate(image(2000, 2000), RESNET, folder=tmp_path, tile=tile, memory=4 << 30, interrupt=interrupt)
        assert caught.value.kind is ProblemKind.INFERENCE_FAILED


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    output = GeneratorBuilder()
    output.add("Sqrt")
    with pytest.raises(FaceterError, match="not finite"):
        translate(DecodedImage(np.zeros((8, 8, 3), np.uint8)), loaded(output.content()), folder=tmp_path)


def test_threads_share_a_generator(tmp_path: Path) -> None:
    generator = loaded(generators.resnet())
    original = image(200, 200)
    output: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: output.append(translate(original, generator, folder=tmp_path, tile=64).colour))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(output) == 4
    assert all((item == output[0]).all() for item in output)


def test_bytes_include_the_stages_once_planned() -> None:
    content = generators.resnet()
    generator = loaded(content)
    before = generator.bytes
    assert before >= len(content)
    assert generator.plan() is not None
    assert generator.bytes - before >= len(content) / 2
    generator.close()


def test_peak_memory_is_estimated_from_the_largest_tensors() -> None:
    """8 channels at full size, plain and in the kernel's blocked layout, and the padded image."""
    values = RESNET.bytes_per_pixel / BYTES_PER_VALUE / ARENA_FACTOR
    assert 2 * 8 < values < 5 * 8
    model = onnx.load_model_from_string(generators.resnet(channels=16))
    assert loaded(model.SerializeToString()).bytes_per_pixel / BYTES_PER_VALUE / ARENA_FACTOR > 1.8 * values


_CHILD = """
import sys
from pathlib import Path
import numpy as np
from faceter.contracts.models import ModelMetadata
from faceter.translation.generator import load_generator
from faceter.translation.translate import translate
from faceter.vision.decoded_image import DecodedImage
peak = lambda: int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
folder, memory = Path(sys.argv[1]), int(sys.argv[2])
generator = load_generator((folder / "generator.onnx").read_bytes(), ModelMetadata())
generator.plan()
image = DecodedImage(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8))
before = peak()
done = translate(image, generator, folder=folder, memory=memory)
print(done.tiles, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_stays_below_the_limit(tmp_path: Path) -> None:
    """In processes of their own: tiles stay within the limit, a run on the whole image needs far more."""
    (tmp_path / "generator.onnx").write_bytes(generators.resnet(channels=16, blocks=1))

    def run(memory: int) -> tuple[int, float]:
        command = [sys.executable, "-c", _CHILD, str(tmp_path), str(memory << 20)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        tiles, grown = done.stdout.split()
        return int(tiles), float(grown)

    tiles, grown = run(64)
    assert tiles > 8
    assert grown < 64
    tiles, grown = run(4096)
    assert tiles == 1
    assert grown > 200
