"""Translation of images by the generators of a translator."""

import io
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Final, Literal

from pydantic import Field

from app.services.core import Core, Service
from app.services.errors import invalid
from app.services.images import UploadedImage
from app.services.predictions.sessions import Key
from app.services.translators.service import TranslatorService
from app.services.translators.training import not_ready
from faceter.contracts.base import Contract, message_if_invalid
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.serving import EngineName
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translators import Translator, TranslatorInTraining
from faceter.engines.base import Interrupt
from faceter.engines.choice import REFERENCE
from faceter.tracing.spans import recorded
from faceter.translation.archive import generator_member
from faceter.translation.generator import LoadedGenerator, load_generator
from faceter.translation.metadata import generator_metadata
from faceter.translation.translate import MIN_TILE, TranslatedImage, translate, translate_and_back
from faceter.vision.decoded_image import decode_with_alpha
from faceter.vision.encoded_image import DEFAULT_QUALITY, ImageFormat, encode_image

_ZIP: Final = "application/zip"
_ENGINE_FAILURES: Final = (
    ProblemKind.INFERENCE_FAILED,
    ProblemKind.MODEL_NOT_RUNNABLE,
    ProblemKind.METHOD_NOT_APPLICABLE,
)
"""Errors of an engine that the reference may not have."""


class TranslateOptions(Contract):
    """Options of a translation."""

    direction: Direction | None = Field(default=None, examples=["a2b"])
    """Source and target domain. By default the only direction of the translator, or `a2b` if it has both."""
    checkpoint: Literal["latest"] | None = Field(default=None, examples=["latest"])
    """`latest`: for a translator in training, use its last checkpoint instead of returning 409."""
    cycle: bool = False
    """Return the image, its translation and the back-translation side by side. Needs both directions."""
    scale: int | None = Field(default=None, ge=8, examples=[512])
    """Longest side of the working size, pixels: larger images are scaled down, translated, and scaled back."""
    tile: Annotated[
        int | Literal["never"] | None, message_if_invalid("must be a whole number of pixels, or `never`")
    ] = Field(default=None, examples=[512])
    """Side of the tiles for large images, pixels, at least 32; `never` to disable tiling. By default chosen from the
    server's memory limit."""
    quality: int = Field(default=DEFAULT_QUALITY, ge=1, le=100)
    """Quality of JPEG and WebP."""
    engine: EngineName | None = Field(default=None, examples=["onnxruntime"])
    """Engine to run with. By default the one that was measured to serve the generator best, see its model's
    `serving`; for a translator in training the reference, ONNX Runtime."""


@dataclass(frozen=True)
class GeneratorSource:
    """A generator to load."""

    name: str
    """Id of its model, or the translator in training whose checkpoint it is from."""
    key: Key
    """Its key in the session cache."""
    load: Callable[[Interrupt], LoadedGenerator] = field(compare=False)
    """Loads it."""
    engine: EngineName = REFERENCE
    """Engine that it is loaded by."""


@dataclass(frozen=True)
class GeneratorSelection:
    """The generators that a request translates with."""

    translator_id: str
    """The translator."""
    direction: Direction
    """Source and target domain."""
    generators: tuple[GeneratorSource, ...]
    """The generator, and for a cycle the one of the opposite direction."""

    @property
    def is_reference(self) -> bool:
        """Whether all run by the reference engine."""
        return all(source.engine == REFERENCE for source in self.generators)


@dataclass(frozen=True)
class TranslatedFile:
    """A translated image, or a zip of several."""

    content: bytes
    """The file."""
    media_type: str
    """Media type."""
    models: tuple[str, ...]
    """Names of the generators."""
    direction: Direction
    """Source and target domain."""
    tiles: int
    """Total number of tiles."""
    seconds: Mapping[str, float]
    """Seconds spent on reading, translating and writing, by these names."""
    warnings: str
    """Warnings about the images; empty if there are none."""


class TranslationService(Service):
    """Translates images."""

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._translators = core.service(TranslatorService)
        self._threads = core.settings.inference_threads

    def select(self, id: str, options: TranslateOptions) -> GeneratorSelection:
        """Return the generators that a request translates with.

        Raises:
            FaceterError: `NOT_FOUND`, also if a generator was deleted; `NOT_READY`; `INVALID_REQUEST` for a missing
                direction.
        """
        translator = self._translators.get_any(id)
        available = translator.directions
        direction = options.direction or (Direction.A2B if Direction.A2B in available else available[0])
        needed = [direction, direction.back] if options.cycle else [direction]
        for required in needed:
            if required not in available:
                field = "cycle" if required is not direction else "direction"
                raise invalid(f"{id} has {available[0]}, but not {required}. Use the direction it has.", field)
        return GeneratorSelection(
            id, direction, tuple(self._source(translator, required, options) for required in needed)
        )

    def translate(
        self,
        selection: GeneratorSelection,
        images: Sequence[UploadedImage],
        options: TranslateOptions,
        format_: ImageFormat,
        interrupt: Interrupt,
    ) -> TranslatedFile:
        """Translate images one after the other.

        Args:
            selection: The generators.
            images: At least one.
            options: Options.
            format_: File format of the results.
            interrupt: Interrupts inference.

        Raises:
            FaceterError: `INVALID_INPUT` for no images; `INVALID_IMAGE` or `IMAGE_TOO_LARGE`, naming the image;
                `INVALID_REQUEST`, `METHOD_NOT_APPLICABLE`, `INFERENCE_FAILED`, `STORAGE_FULL`, `NOT_ACCEPTABLE`.
        """
        if not images:
            raise FaceterError(
                ProblemKind.INVALID_INPUT, "There is no image; send at least one (curl: -F file=@PATH).", field="file"
            )
        _check_tile(options)
        seconds = dict.fromkeys(("read", "translate", "write"), 0.0)
        try:
            selection, translated = self._translate_images(selection, images, options, format_, interrupt, seconds)
        except FaceterError as error:
            is_final = selection.is_reference or options.engine is not None or interrupt.triggered
            if is_final or error.kind not in _ENGINE_FAILURES:
                raise
            options = options.model_copy(update={"engine": REFERENCE})
            selection = self.select(selection.translator_id, options)
            selection, translated = self._translate_images(selection, images, options, format_, interrupt, seconds)
        single = len(translated) == 1
        return TranslatedFile(
            content=translated[0].content if single else _to_zip(translated),
            media_type=format_.value if single else _ZIP,
            models=tuple(source.name for source in selection.generators),
            direction=selection.direction,
            tiles=sum(item.tiles for item in translated),
            seconds=seconds,
            warnings=_warnings(translated),
        )

    def _translate_images(
        self,
        selection: GeneratorSelection,
        images: Sequence[UploadedImage],
        options: TranslateOptions,
        format_: ImageFormat,
        interrupt: Interrupt,
        seconds: dict[str, float],
    ) -> "tuple[GeneratorSelection, list[_EncodedTranslation]]":
        with ExitStack() as stack:
            selection, generators = self._generators(selection, options, interrupt, stack)
            return selection, [
                self._translate_image(image, selection, generators, options, format_, interrupt, seconds)
                for image in images
            ]

    def _generators(
        self, selection: GeneratorSelection, options: TranslateOptions, interrupt: Interrupt, stack: ExitStack
    ) -> tuple[GeneratorSelection, list[LoadedGenerator]]:
        """Return the loaded generators, which stay loaded until the stack ends, and their selection.

        They are selected again if one is missing, such as a checkpoint that was replaced by a later one.
        """
        try:
            with ExitStack() as loading:
                generators = [loading.enter_context(self._loaded(source, interrupt)) for source in selection.generators]
                stack.push(loading.pop_all())
                return selection, generators
        except FaceterError as error:
            if error.kind is not ProblemKind.BLOB_MISSING:
                raise
            reselected = self.select(selection.translator_id, options)
            if reselected == selection:
                raise
        return self._generators(reselected, options, interrupt, stack)

    def _translate_image(
        self,
        image: UploadedImage,
        selection: GeneratorSelection,
        generators: Sequence[LoadedGenerator],
        options: TranslateOptions,
        format_: ImageFormat,
        interrupt: Interrupt,
        seconds: dict[str, float],
    ) -> "_EncodedTranslation":
        started = time.perf_counter()
        try:
            opened = decode_with_alpha(image.content, max_pixels=self.settings.max_pixels, name=image.name)
            read = time.perf_counter()
            run = translate if len(generators) == 1 else translate_and_back
            names = ", ".join(source.name for source in selection.generators)
            with recorded("run model", {"faceter.model.id": names}):
                result: TranslatedImage = run(
                    opened,
                    *generators,
                    folder=self._folder(),
                    tile=options.tile,
                    scale=options.scale,
                    memory=self.settings.translation_bytes,
                    interrupt=interrupt,
                )
        except FaceterError as error:
            raise error if image.field is None else error.at(image.field) from error
        translated = time.perf_counter()
        file = encode_image(result.colour, result.alpha, format_, quality=options.quality)
        seconds["read"] += read - started
        seconds["translate"] += translated - read
        seconds["write"] += time.perf_counter() - translated
        return _EncodedTranslation(
            _stem(image.name) + format_.extension, file.content, result.tiles, (*result.warnings, *file.warnings)
        )

    def _source(
        self, translator: Translator | TranslatorInTraining, direction: Direction, options: TranslateOptions
    ) -> GeneratorSource:
        if isinstance(translator, Translator):
            return self._model_source(translator, direction, options.engine)
        sha256 = self._translators.checkpoint_of(translator.id) if options.checkpoint else None
        if sha256 is None:
            raise not_ready(translator)
        return self._checkpoint_source(translator, direction, sha256)

    def _model_source(self, translator: Translator, direction: Direction, name: EngineName | None) -> GeneratorSource:
        id = translator.model_ids[direction]
        model = self.library.models.find(id)
        if model is None:
            hint = (
                ""
                if translator.training is None
                else f" The archive of {translator.id} (its `content`) still has it, as {generator_member(direction)}."
            )
            raise FaceterError(
                ProblemKind.NOT_FOUND,
                f"{id}, the {direction} generator of {translator.id}, has been deleted.{hint} Upload it again and "
                "create a translator from it.",
            )

        sizes = translator.generator_sizes.get(direction)
        open_fixed = sizes is None or sizes.opened
        candidate = self.core.model_server.chosen(model, name)

        def load(interrupt: Interrupt) -> LoadedGenerator:
            content = self.library.blobs.read(model.sha256)
            engine, layout = self.core.model_server.engine(candidate, model, content)
            return load_generator(
                content,
                model.metadata,
                engine=engine,
                threads=self._threads,
                layout=layout,
                interrupt=interrupt,
                open_fixed=open_fixed,
            )

        form = "opened" if open_fixed else "as given"
        key = (model.sha256, "generator", id, form, candidate.engine, candidate.precision.value)
        return GeneratorSource(id, key, load, candidate.engine)

    def _checkpoint_source(
        self, translator: TranslatorInTraining, direction: Direction, sha256: str
    ) -> GeneratorSource:
        def load(interrupt: Interrupt) -> LoadedGenerator:
            with self._translators.checkpoint_archive(sha256) as archive:
                content = archive.read(generator_member(direction))
            metadata = generator_metadata(translator.settings.image_size)
            return load_generator(
                content, metadata, engine=self.core.engine, threads=self._threads, interrupt=interrupt
            )

        return GeneratorSource(f"{translator.id} at its last checkpoint", (sha256, "generator", direction.value), load)

    def _loaded(self, source: GeneratorSource, interrupt: Interrupt) -> AbstractContextManager[LoadedGenerator]:
        """Return a context manager with a loaded generator."""
        return self.core.sessions.cached(source.key, lambda: source.load(interrupt))

    def _folder(self) -> Path:
        """Return the scratch folder for intermediate results of tiles, created if missing."""
        folder = self.settings.scratch_dir
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class _EncodedTranslation:
    name: str
    content: bytes
    tiles: int
    warnings: tuple[str, ...]


def _check_tile(options: TranslateOptions) -> None:
    if isinstance(options.tile, int) and options.tile < MIN_TILE:
        raise invalid(f"The side of a tile is at least {MIN_TILE} pixels, not {options.tile}.", "tile")


def _warnings(images: Sequence[_EncodedTranslation]) -> str:
    """Return the warnings about the images, with their numbers if there are several."""
    if len(images) == 1:
        return "; ".join(images[0].warnings)
    numbered = enumerate(images, start=1)
    return "; ".join(f"{number}: {', '.join(item.warnings)}" for number, item in numbered if item.warnings)


def _stem(name: str) -> str:
    """Return a file name without folders (of any operating system) and extension."""
    return PurePath(name.replace("\\", "/")).stem.strip(".") or "image"


def _to_zip(images: Sequence[_EncodedTranslation]) -> bytes:
    """Return images in a zip, in order; duplicate names are prefixed by a number."""
    buffer = io.BytesIO()
    names: set[str] = set()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, item in enumerate(images, start=1):
            name = item.name
            while name in names:
                name = f"{number}-{name}"
            names.add(name)
            archive.writestr(name, item.content)
    return buffer.getvalue()
