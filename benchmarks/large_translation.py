"""Memory and seconds of the translation of a large image, in a process that has what a serving one has: no torch.

``python -m benchmarks.large_translation generator.onnx`` translates an image of 4000 × 3000 and prints seconds, tiles
and peak resident memory. Claim: under 1.5 GiB for CycleGAN's generator of 64 channels and nine blocks, which
``python -m benchmarks.translation_serving memory`` makes and hands to this.
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
from faceter.vision.decoded_image import DecodedImage, Pixels, decode_image
from faceter.vision.images import EXTENSIONS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "dusk2day" / "test.zip"
LARGE = (3000, 4000)
MOST_BYTES = 1.5 * (1 << 30)
_MIB = 1 << 20


def images(archive: Path, count: int, height: int, width: int) -> list[Pixels]:
    """Return the first images of an archive at a size, repeated by reflection; noise where there is no archive."""
    if not archive.is_file():
        return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))
    found = []
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if Path(name).suffix.lower() in EXTENSIONS)
        for name in names[:count]:
            colour = decode_image(io.BytesIO(opened.read(name)), max_pixels=100_000_000, name=name).colour
            widths = [(0, max(0, size - side)) for size, side in zip((height, width), colour.shape, strict=False)]
            found.append(np.pad(colour, (*widths, (0, 0)), mode="reflect")[:height, :width])
    return found


def peak() -> int:
    """Return the most bytes that were resident in this process so far; Linux only.

    ``getrusage`` would count what the parent held when it started this process.
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
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for tensors kept on disk")
    options = parser.parse_args(arguments)
    height, width = options.size
    (colour,) = images(options.data, 1, height, width)
    generator = load_generator(options.model.read_bytes(), ModelMetadata(), threads=options.threads)
    before = peak()
    done = translate(DecodedImage(colour), generator, folder=options.folder)
    after = peak()
    held = after < MOST_BYTES
    print(f"{width} × {height}, {options.threads} thread(s): {done.seconds:.1f} s in {done.tiles} tiles")
    print(f"peak resident memory {after / _MIB:,.0f} MiB, {before / _MIB:,.0f} MiB of it before translating")
    print(f"claim: under {MOST_BYTES / _MIB:,.0f} MiB. " + ("It holds." if held else "It does NOT hold."))
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
