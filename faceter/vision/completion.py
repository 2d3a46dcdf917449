"""Completes the metadata of an upload from what the file says of itself, and from shapes that leave no doubt."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import onnx
from pydantic import ValidationError

from faceter.contracts.detection import DetectionDecoding, DetectionPreset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import MetadataSource, ModelMetadata, Task, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.graphs.output_activation import probability_outputs
from faceter.graphs.properties import properties_of
from faceter.vision.file_facts import PADDLE_OCR, FileFacts, as_recognizer, file_facts
from faceter.vision.input_layout import with_complete_preprocessing
from faceter.vision.metadata import check_metadata, image_input
from faceter.vision.presets.head_shapes import HeadShapes
from faceter.vision.presets.resolve import FIELD, advice, certain_preset, resolved, said_fields
from faceter.vision.presets.table import PRESETS

_RANK: Final = 4
_CHANNELS: Final = (1, 3)


@dataclass(frozen=True)
class CompletedMetadata:
    """The metadata of a model as they are understood."""

    metadata: ModelMetadata
    """Metadata of the upload, with what the file says and what shapes leave no doubt of."""
    sources: dict[str, MetadataSource]
    """Where each field is from; `preprocessing.size` and the like where a part is from elsewhere than the whole."""
    warnings: list[str]
    """What of the file could not be used, and what is still to be said."""
    size_by_file: bool = False
    """Whether only the file says the size of images, for an input with open sizes, so that a run must show it."""


def complete_metadata(
    said: ModelMetadata,
    model: onnx.ModelProto,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    said_names: Collection[str] | None = None,
    trusts_file: bool = True,
) -> CompletedMetadata:
    """Return the metadata of an upload with everything that is known of the model.

    What the upload says is kept. Where the file contradicts it, or its own graph, the file is ignored, with a warning.

    Args:
        said: Metadata from the upload; ``model_fields_set`` are the fields that it says.
        model: The checked model.
        inputs: Its inputs, without initializers.
        outputs: Its outputs.
        said_names: Fields that the upload says, if ``said`` was completed before.
        trusts_file: Whether to use what the file says of itself.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if what the upload says contradicts the model.
    """
    names = said.model_fields_set if said_names is None else said_names
    facts = _facts(model, inputs, outputs) if trusts_file else FileFacts()
    completed = _Completion(said, names, facts, model, inputs, outputs).run()
    if set(completed.sources.values()) == {MetadataSource.SAID}:
        return completed
    try:
        check_metadata(completed.metadata, inputs, outputs)
    except FaceterError as error:
        if facts == FileFacts():
            raise
        alone = _Completion(said, names, FileFacts(), model, inputs, outputs).run()
        check_metadata(alone.metadata, inputs, outputs)
        warning = f"What the file says of itself does not fit its graph, and is ignored: {error.detail}"
        return CompletedMetadata(alone.metadata, alone.sources, [warning, *alone.warnings])
    return completed


def _facts(model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> FileFacts:
    properties = properties_of(model)
    images = [spec for spec in inputs if len(spec.shape) == _RANK]
    return as_recognizer(file_facts(properties), properties, images[0] if len(images) == 1 else None, outputs)


@dataclass
class _Completion:
    """One completion, step by step: task, labels, preprocessing, detection."""

    said: ModelMetadata
    names: Collection[str]
    facts: FileFacts
    model: onnx.ModelProto
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    sources: dict[str, MetadataSource] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def run(self) -> CompletedMetadata:
        for name in ModelMetadata.model_fields:
            if getattr(self.said, name) is not None and (name in self.names or name == "text"):
                self.sources[name] = MetadataSource.SAID if name in self.names else MetadataSource.FILE
        self.warnings += self.facts.warnings
        metadata = self._with_task(self.said)
        metadata = self._with_labels(metadata)
        metadata = self._with_preprocessing(metadata)
        metadata = self._with_detection(metadata)
        return CompletedMetadata(metadata, self.sources, self.warnings, self._size_by_file(metadata))

    @property
    def _file_applies(self) -> bool:
        """Whether what the file says of its task does not contradict what the upload says."""
        facts = self.facts
        return facts.task is None or "task" not in self.names or self.said.task is facts.task

    def _with_task(self, metadata: ModelMetadata) -> ModelMetadata:
        if "task" in self.names:
            if not self._file_applies:
                self.warnings.append(
                    f"The file says that its task is {self.facts.task}, the upload {self.said.task}: the upload counts."
                )
            return metadata
        if self.facts.task is not None:
            self.sources["task"] = MetadataSource.FILE
            return metadata.model_copy(update={"task": self.facts.task})
        if metadata.detection is not None or self._is_yolov5():
            self.sources["task"] = MetadataSource.INFERRED
            return metadata.model_copy(update={"task": Task.OBJECT_DETECTION})
        return metadata

    def _is_yolov5(self) -> bool:
        """Whether the file has the properties of the YOLOv5 repository, which do not name a task, and such outputs."""
        if self.facts.exporter != "YOLOv5" or self.facts.labels is None:
            return False
        found = certain_preset(self._shapes(len(self.facts.labels), self._fixed_size(), {}))
        return found is DetectionPreset.YOLOV5

    def _with_labels(self, metadata: ModelMetadata) -> ModelMetadata:
        labels = self.facts.labels
        if labels is None or not self._file_applies:
            return metadata
        if metadata.labels is not None:
            if metadata.labels != labels:
                self.warnings.append("The upload names other labels than the file: those of the upload count.")
            return metadata
        if not (metadata.task.classifies or metadata.task is Task.OBJECT_DETECTION or self.facts.exporter):
            return metadata
        self.sources["labels"] = MetadataSource.FILE
        return metadata.model_copy(update={"labels": labels})

    def _with_preprocessing(self, metadata: ModelMetadata) -> ModelMetadata:
        by_file = self._preprocessing_by_file(metadata.task) if self._file_applies else None
        said = metadata.preprocessing
        if said is None and by_file is None:
            return metadata
        if said is None:
            assert by_file is not None
            return self._with_that_of_file(metadata, by_file)
        if by_file is not None:
            said = self._with_fields_of_file(said, by_file)
        return self._laid_out(metadata.model_copy(update={"preprocessing": said}))

    def _with_fields_of_file(self, said: Preprocessing, by_file: dict[str, Any]) -> Preprocessing:
        """Return preprocessing with what the file says beside it; of a preset that is said, only the size."""
        given = said.model_dump(exclude_unset=True)
        added = {name: value for name, value in by_file.items() if name not in given}
        if said.preset is not None:
            added = {name: value for name, value in added.items() if name == "size"}
        try:
            merged = Preprocessing.model_validate({**added, **given})
        except ValidationError:
            return said
        self.sources |= {f"preprocessing.{name}": MetadataSource.FILE for name in added}
        return merged

    def _with_that_of_file(self, metadata: ModelMetadata, by_file: dict[str, Any]) -> ModelMetadata:
        try:
            preprocessing = Preprocessing.model_validate(by_file)
            completed = self._laid_out(metadata.model_copy(update={"preprocessing": preprocessing}))
        except (ValidationError, FaceterError) as error:
            reason = error.detail if isinstance(error, FaceterError) else str(error.errors()[0]["msg"])
            self.warnings.append(
                f"The preprocessing that the file says does not fit its input, and is ignored: {reason}"
            )
            return metadata
        by_name = self.facts.exporter == PADDLE_OCR
        self.sources["preprocessing"] = MetadataSource.INFERRED if by_name else MetadataSource.FILE
        if by_file.get("size") != self.facts.size or self.facts.size is None:
            self.sources["preprocessing.size"] = MetadataSource.INFERRED
        return completed

    def _size_by_file(self, metadata: ModelMetadata) -> bool:
        by_file = "preprocessing" not in self.names and metadata.preprocessing is not None
        return by_file and self._fixed_size() is None

    def _preprocessing_by_file(self, task: Task) -> dict[str, Any] | None:
        """Return the fields of the preprocessing that the file says, with a size that fits its input."""
        fields = self.facts.preprocessing
        if self.facts.exporter == "YOLOv5" and task is not Task.OBJECT_DETECTION:
            return None
        images = [spec for spec in self.inputs if len(spec.shape) == _RANK]
        if fields is None or not images:
            return None
        fixed, size = self._fixed_size(), self.facts.size
        if fixed is not None and size is not None and list(fixed) != size:
            self.warnings.append(
                f"The file says that images have the size {size}, but its input has {list(fixed)}, which counts."
            )
            size = None
        if size is None and fixed is None and "preset" not in fields:
            return None
        if size is not None:
            return {**fields, "size": size}
        return {**fields, "size": list(fixed)} if fixed and "preset" not in fields else dict(fields)

    def _fixed_size(self) -> tuple[int, int] | None:
        """Return height and width of the only input for images, if both are fixed."""
        images = [spec for spec in self.inputs if len(spec.shape) == _RANK]
        if len(images) != 1:
            return None
        _, first, second, last = images[0].shape
        channels_last = last in _CHANNELS and first not in _CHANNELS
        height, width = (first, second) if channels_last else (second, last)
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def _laid_out(self, metadata: ModelMetadata) -> ModelMetadata:
        """Return metadata with a preprocessing that names what the input leaves no doubt of."""
        before = metadata.preprocessing
        completed = with_complete_preprocessing(metadata, self.inputs, self.model)
        after = completed.preprocessing
        if after is not None and after.input is None and (name := self._image_name(after)) is not None:
            after = after.model_copy(update={"input": name})
            completed = completed.model_copy(update={"preprocessing": after})
        if before is not None and after is not None:
            changed = {
                f"preprocessing.{name}"
                for name in Preprocessing.model_fields
                if getattr(before, name) != getattr(after, name)
            }
            self.sources |= dict.fromkeys(sorted(changed), MetadataSource.INFERRED)
        return completed

    def _image_name(self, preprocessing: Preprocessing) -> str | None:
        try:
            return image_input(preprocessing, self.inputs).name
        except FaceterError:
            return None

    def _with_detection(self, metadata: ModelMetadata) -> ModelMetadata:
        said = metadata.detection
        if metadata.task is not Task.OBJECT_DETECTION or (
            said is not None and said.preset is None and said.is_resolved
        ):
            return metadata
        shapes = self._shapes(
            None if metadata.labels is None else len(metadata.labels),
            self._input_size(metadata),
            {} if said is None else said_fields(said),
        )
        if said is not None and said.preset is not None:
            return metadata.model_copy(update={"detection": resolved(said.preset, shapes)})
        decoding = self._inferred(shapes, said)
        if decoding is None and self.sources.get("labels") is MetadataSource.FILE:
            decoding = self._inferred(replace(shapes, classes=None), said)
            if decoding is not None:
                self.warnings.append(
                    f"The file names {shapes.classes} classes, which its outputs do not have: ignored."
                )
                del self.sources["labels"]
                metadata = metadata.model_copy(update={"labels": None})
        if decoding is None:
            if said is not None:
                message = f"The metadata's detection names neither a preset nor head and boxes. {advice(shapes)}"
                raise FaceterError(ProblemKind.METADATA_MISMATCH, message, field=f"{FIELD}.preset")
            self.warnings.append(
                f"How boxes are decoded is not known, so outputs are returned as they are. {advice(shapes)}"
            )
            return metadata
        self.sources["detection"] = MetadataSource.INFERRED if said is None else MetadataSource.SAID
        if said is not None:
            self.sources["detection.preset"] = MetadataSource.INFERRED
        return metadata.model_copy(update={"detection": decoding})

    def _inferred(self, shapes: HeadShapes, said: DetectionDecoding | None) -> DetectionDecoding | None:
        """Return the description by the preset that the file names, else by the one that is certain, else None."""
        by_file = self.facts.preset if self._file_applies else None
        fits = by_file is not None and PRESETS[by_file].fit(shapes) is not None
        preset = by_file if fits else certain_preset(shapes)
        if preset is not None and by_file is not None and not fits:
            self.warnings.append(f"The file is of a head {by_file}, which its outputs do not have: {preset} counts.")
        if preset is None:
            return None
        try:
            return resolved(preset, shapes)
        except FaceterError:
            if said is not None:
                raise
            return None

    def _input_size(self, metadata: ModelMetadata) -> tuple[int, int] | None:
        if metadata.preprocessing is None:
            return self._fixed_size()
        if self._image_name(metadata.preprocessing) is None:
            return None
        height, width = metadata.preprocessing.size
        return height, width

    def _shapes(self, classes: int | None, size: tuple[int, int] | None, said: dict[str, Any]) -> HeadShapes:
        return HeadShapes(
            self.inputs,
            self.outputs,
            classes,
            size,
            probability_outputs(self.model),
            self.facts.keypoint_shape if self._file_applies else None,
            said,
        )
