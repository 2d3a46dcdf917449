"""Memory and duration of the translation of a large image, in a process without torch, as in serving.

``python -m benchmarks.large_translation generator.onnx`` translates an image of 4000 × 3000 and prints seconds, tiles
and peak resident memory. Claim: under 1.5 GiB for CycleGAN's generator of 64 channels and nine blocks, which
``python -m benchmarks.translation_serving memory`` creates and passes to this.
"""

import argparse
import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceter.contracts.models import ModelMetadata
from faceter.translation.generator import load_generator
from faceter.translation.translate import translate
from faceter.vision.decoded_image import DecodedImage, Pixels, decode_with_alpha
from faceter.vision.images import EXTENSIONS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "dusk2day" / "test.zip"
LARGE = (3000, 4000)
MAX_BYTES = 1.5 * (1 << 30)
_MIB = 1 << 20


def images(archive: Path, count: int, height: int, width: int) -> list[Pixels]:
    """Return the first images of an archive at a size, padded by reflection; noise if there is no archive."""
    if not archive.is_file():
        return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))
    cropped = []
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if Path(name).suffix.lower() in EXTENSIONS)
        for name in names[:count]:
            colour = decode_with_alpha(io.BytesIO(opened.read(name)), max_pixels=100_000_000, name=name).colour
            widths = [(0, max(0, size - side)) for size, side in zip((height, width), colour.shape, strict=False)]
            cropped.append(np.pad(colour, (*widths, (0, 0)), mode="reflect")[:height, :width])
    return cropped


def peak() -> int:
    """Return the peak resident memory of this process in bytes; Linux only.

    ``getrusage`` would include the memory of the parent when it started this process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Translate one image; return 0 if the claim holds, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a generator, ONNX")
    parser.add_argument("--size", type=int, nargs=2, default=LARGE, help="height and width")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run")
    parser.add_argument("--data", type=Path, default=SHARED, help="an archive of images; the first is taken")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for spill files")
    options = parser.parse_args(arguments)
    height, width = options.size
    (colour,) = images(options.data, 1, height, width)
    generator = load_generator(options.model.read_bytes(), ModelMetadata(), threads=options.threads)
    before = peak()
    translated = translate(DecodedImage(colour), generator, folder=options.folder)
    after = peak()
    held = after < MAX_BYTES
    print(f"{width} × {height}, {options.threads} thread(s): {translated.seconds:.1f} s in {translated.tiles} tiles")
    print(f"peak resident memory {after / _MIB:,.0f} MiB, {before / _MIB:,.0f} MiB of it before translating")
    print(f"claim: under {MAX_BYTES / _MIB:,.0f} MiB. " + ("It holds." if held else "It does NOT hold."))
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
