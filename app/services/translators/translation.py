"""Translating images: images in, images out. Nothing here knows of HTTP."""

import io
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Final, Literal

from pydantic import Field

from app.http.uploaded_images import UploadedImage
from app.services.predictions.sessions import Key, SessionCache
from app.services.sources import invalid
from app.services.translators.service import Translators
from app.services.translators.training import not_ready
from faceter.contracts.base import Contract, in_one_sentence
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.contracts.translators import Direction, Translator, TranslatorInTraining
from faceter.engines.base import Engine, Interrupt
from faceter.store.library import Library
from faceter.translation.archive import generator_member
from faceter.translation.generator import Generator, load_generator
from faceter.translation.metadata import generator_metadata
from faceter.translation.translate import LEAST_TILE, Translated, translate, translate_and_back
from faceter.vision.decoded_image import decode_image
from faceter.vision.encoded_image import DEFAULT_QUALITY, ImageFormat, encode_image

_ZIP: Final = "application/zip"
_MILLI: Final = 1000.0


class TranslateOptions(Contract):
    """How to translate."""

    direction: Direction | None = Field(default=None, examples=["a2b"])
    """From which domain to which; of a translator of one direction that one, of one with both `a2b` if not given."""
    checkpoint: Literal["latest"] | None = Field(default=None, examples=["latest"])
    """`latest`: of a translator still in training take what it was at its last checkpoint, and not answer 409."""
    cycle: bool = False
    """Answer the image, its translation and that translated back, side by side. Needs both directions."""
    scale: int | None = Field(default=None, ge=8, examples=[512])
    """Longest side of the working size, pixels: larger images are scaled down, translated, and scaled back."""
    tile: Annotated[int | Literal["never"] | None, in_one_sentence("must be a whole number of pixels, or `never`")] = (
        Field(default=None, examples=[512])
    )
    """Sides of the tiles that large images are done in, at least 32; `never` for the whole at once. Chosen by the
    server's memory if not given."""
    quality: int = Field(default=DEFAULT_QUALITY, ge=1, le=100)
    """Of JPEG and WebP."""


@dataclass(frozen=True)
class Way:
    """What translates."""

    id: str
    """The translator."""
    direction: Direction
    """From which domain to which."""
    generators: tuple["_Source", ...]
    """The generator, and for a cycle that of the way back."""


@dataclass(frozen=True)
class _Source:
    """Where a generator is."""

    name: str
    """What answers call it: a model's id, or of which translator it is."""
    key: Key
    """By which it is kept loaded."""
    load: Callable[[Interrupt], Generator] = field(compare=False)
    """Loads it."""


@dataclass(frozen=True)
class Answer:
    """An image, or a zip of several."""

    content: bytes
    """The file."""
    media_type: str
    """What it is."""
    headers: dict[str, str]
    """What is said beside."""


class Translation:
    """Translates by the translators the service keeps. Every method blocks: it is to be called in a thread.

    Args:
        translators: The translators.
        library: Where their generators are.
        sessions: Where generators are kept loaded.
        engine: What runs them.
        settings: Limits.
    """

    def __init__(
        self, translators: Translators, library: Library, sessions: SessionCache, engine: Engine, settings: Settings
    ) -> None:
        self._translators = translators
        self._library = library
        self._sessions = sessions
        self._engine = engine
        self._settings = settings
        self._threads = settings.inference_threads

    def way(self, id: str, options: TranslateOptions) -> Way:
        """Return what translates.

        Raises:
            FaceterError: `NOT_FOUND`, also if a generator was deleted since; `NOT_READY`; `INVALID_REQUEST` for a
                direction it does not have.
        """
        found = self._translators.get(id)
        there = found.directions
        direction = options.direction or (Direction.A2B if Direction.A2B in there else there[0])
        wanted = [direction, direction.back] if options.cycle else [direction]
        for asked in wanted:
            if asked not in there:
                only = " and ".join(there)
                field = "cycle" if asked is not direction else "direction"
                raise invalid(f"{id} has {only}, but not {asked}. Take the direction it has.", field)
        return Way(id, direction, tuple(self._source(found, asked, options) for asked in wanted))

    def translate(
        self,
        way: Way,
        images: Sequence[UploadedImage],
        options: TranslateOptions,
        format_: ImageFormat,
        interrupt: Interrupt,
    ) -> Answer:
        """Translate images, one after the other.

        Args:
            way: What translates.
            images: The images.
            options: How.
            format_: What to answer.
            interrupt: Stops it.

        Raises:
            FaceterError: `INVALID_INPUT` if there are none; `INVALID_IMAGE` or `IMAGE_TOO_LARGE`, naming the image;
                `INVALID_REQUEST`, `METHOD_NOT_APPLICABLE`, `INFERENCE_FAILED`, `STORAGE_FULL`, `NOT_ACCEPTABLE`.
        """
        if not images:
            raise FaceterError(
                ProblemKind.INVALID_INPUT, "There is no image; send at least one (curl: -F file=@PATH).", field="file"
            )
        _check_tile(options)
        spent = dict.fromkeys(("read", "translate", "write"), 0.0)
        with ExitStack() as stack:
            way, generators = self._generators(way, options, interrupt, stack)
            made = [self._one(image, generators, options, format_, interrupt, spent) for image in images]
        headers = {
            "Faceter-Model": ", ".join(source.name for source in way.generators),
            "Faceter-Direction": way.direction.value,
            "Faceter-Tiles": str(sum(item.tiles for item in made)),
            "Server-Timing": ", ".join(f"{name};dur={_MILLI * seconds:.1f}" for name, seconds in spent.items()),
        }
        notes = _notes(made)
        if notes:
            headers["Faceter-Notes"] = notes
        if len(made) == 1:
            return Answer(made[0].content, format_.value, headers)
        return Answer(_zipped(made), _ZIP, headers)

    def _generators(
        self, way: Way, options: TranslateOptions, interrupt: Interrupt, stack: ExitStack
    ) -> tuple[Way, list[Generator]]:
        """Return the generators, lent until the stack ends, and the way they are of.

        A way is found again if what it leads to is gone by now, as a checkpoint is when a later one takes its place.
        """
        try:
            with ExitStack() as lent:
                generators = [lent.enter_context(self._lent(source, interrupt)) for source in way.generators]
                stack.push(lent.pop_all())
                return way, generators
        except FaceterError as error:
            if error.kind is not ProblemKind.BLOB_MISSING:
                raise
            again = self.way(way.id, options)
            if again == way:
                raise
        return self._generators(again, options, interrupt, stack)

    def _one(
        self,
        image: UploadedImage,
        generators: Sequence[Generator],
        options: TranslateOptions,
        format_: ImageFormat,
        interrupt: Interrupt,
        spent: dict[str, float],
    ) -> "_Made":
        began = time.perf_counter()
        try:
            opened = decode_image(image.content, max_pixels=self._settings.max_pixels, name=image.name)
            read = time.perf_counter()
            run = translate if len(generators) == 1 else translate_and_back
            found: Translated = run(
                opened,
                *generators,
                folder=self._folder(),
                tile=options.tile,
                scale=options.scale,
                memory=self._settings.translation_bytes,
                interrupt=interrupt,
            )
        except FaceterError as error:
            raise error if image.field is None else error.at(image.field) from error
        translated = time.perf_counter()
        file = encode_image(found.colour, found.alpha, format_, quality=options.quality)
        spent["read"] += read - began
        spent["translate"] += translated - read
        spent["write"] += time.perf_counter() - translated
        return _Made(_stem(image.name) + format_.extension, file.content, found.tiles, (*found.notes, *file.notes))

    def _source(
        self, found: Translator | TranslatorInTraining, direction: Direction, options: TranslateOptions
    ) -> _Source:
        if isinstance(found, Translator):
            return self._of_model(found, direction)
        sha256 = self._translators.checkpoint_of(found.id) if options.checkpoint else None
        if sha256 is None:
            raise not_ready(found)
        return self._of_checkpoint(found, direction, sha256)

    def _of_model(self, translator: Translator, direction: Direction) -> _Source:
        id = translator.model_ids[direction]
        model = self._library.models.find(id)
        if model is None:
            kept = (
                ""
                if translator.training is None
                else f" GET /v1/translators/{translator.id}/content still has it, as {generator_member(direction)}."
            )
            raise FaceterError(
                ProblemKind.NOT_FOUND,
                f"{id}, which {translator.id} translates {direction} with, has been deleted.{kept} Upload it again and "
                "make a translator of it with POST /v1/translators.",
            )

        def load(interrupt: Interrupt) -> Generator:
            content = self._library.blobs.read(model.sha256)
            layout = self._sessions.layout(content, model.quantization)
            return load_generator(
                content, model.metadata, engine=self._engine, threads=self._threads, layout=layout, interrupt=interrupt
            )

        return _Source(id, (model.sha256, "generator", id), load)

    def _of_checkpoint(self, translator: TranslatorInTraining, direction: Direction, sha256: str) -> _Source:
        def load(interrupt: Interrupt) -> Generator:
            with self._translators.checkpoint_archive(sha256) as archive:
                content = archive.read(generator_member(direction))
            metadata = generator_metadata(translator.settings.image_size)
            return load_generator(content, metadata, engine=self._engine, threads=self._threads, interrupt=interrupt)

        return _Source(f"{translator.id} at its last checkpoint", (sha256, "generator", direction.value), load)

    def _lent(self, source: _Source, interrupt: Interrupt) -> AbstractContextManager[Generator]:
        """Lend a loaded generator."""
        return self._sessions.keep(source.key, lambda: source.load(interrupt))

    def _folder(self) -> Path:
        """Return the folder for what lies between tiles; made if need be."""
        folder = self._settings.scratch_dir
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class _Made:
    name: str
    content: bytes
    tiles: int
    notes: tuple[str, ...]


def _check_tile(options: TranslateOptions) -> None:
    if isinstance(options.tile, int) and options.tile < LEAST_TILE:
        raise invalid(f"A tile has at least {LEAST_TILE} pixels a side, not {options.tile}.", "tile")


def _notes(made: Sequence[_Made]) -> str:
    """Return what is to be said of the images, each of several by its number."""
    if len(made) == 1:
        return "; ".join(made[0].notes)
    return "; ".join(f"{number}: {', '.join(item.notes)}" for number, item in enumerate(made, start=1) if item.notes)


def _stem(name: str) -> str:
    """Return a file's name without folders, whatever system's they are, and without its ending."""
    return PurePath(name.replace("\\", "/")).stem.strip(".") or "image"


def _zipped(made: Sequence[_Made]) -> bytes:
    """Return images in a zip, in order; equal names are told apart by their number."""
    buffer = io.BytesIO()
    names: set[str] = set()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, item in enumerate(made, start=1):
            name = item.name
            while name in names:
                name = f"{number}-{name}"
            names.add(name)
            archive.writestr(name, item.content)
    return buffer.getvalue()
