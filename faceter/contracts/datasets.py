"""Datasets: one file each, validated on upload."""

from enum import StrEnum
from typing import Self

from pydantic import Field

from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, StoredRecord, Timestamp, name_contains


class DatasetKind(StrEnum):
    """Kind of samples in a dataset; it determines the file format."""

    IMAGES = "images"
    """A zip of images, optionally in one folder per class, with the name of the class, or with an index of paths and
    classes such as `val.txt` or `labels.csv`."""
    DETECTION = "detection"
    """A zip with `images/` and `annotations.json` in COCO format; or PASCAL VOC's XML files, or YOLO's `labels/*.txt`
    with a `data.yaml` or `classes.txt`."""
    SIGNALS = "signals"
    """An `.npz` with `signals` [N, channels, length], optional `labels` [N], `concepts` [N, length] (or [N, M, length]
    for up to M concepts at the same time) and their names."""
    TENSORS = "tensors"
    """An `.npz` with one array [N, …] for each input of a model, under its name, and optional `labels` [N] and
    `classes`; for models with several inputs or whole numbers as input."""
    CONCEPTS = "concepts"
    """A zip with `images/`, `labels/CATEGORY/` (a label PNG for each image, pixel values are concept numbers) and
    `concepts.json` (their names); optional `image_labels.csv` for concepts of whole images."""
    TEXT_PAIRS = "text_pairs"
    """A zip with `pairs.jsonl`, `vocab.txt` (for models without a tokenizer) and optional `vectors.txt`."""
    TEXTS = "texts"
    """A text file: JSON lines with `text` and optional `label` and `tags`, or a table (CSV, TSV) with these columns."""
    FEATURES = "features"
    """An `.npz` with `features` [N, D], one row per sample, and optional `labels` [N]."""
    DOMAINS = "domains"
    """A zip with `A/` and `B/` (or `trainA/` and `trainB/`), images of the two domains of a translator; optionally in
    pairs with equal names, or as one image for each pair, side by side."""


class Dataset(StoredRecord):
    """A stored dataset."""

    id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["cifar10-test"])
    """Name."""
    kind: DatasetKind
    """Kind of samples."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of the file; equal files are stored once."""
    bytes: int = Field(examples=[5126003])
    """Size of the file in bytes."""
    samples: int = Field(examples=[5000])
    """Number of samples."""
    classes: list[str] = Field(default_factory=list, examples=[["airplane", "automobile"]])
    """Names of the classes; empty if unlabelled. For kind `domains`: A and B."""
    class_counts: dict[str, int] = Field(default_factory=dict, examples=[{"airplane": 500, "automobile": 500}])
    """Number of samples (or boxes) per class; for kind `domains`, images per domain."""
    concepts: dict[str, list[str]] = Field(
        default_factory=dict, examples=[{"object": ["sky", "road", "car"], "scene": ["day", "dusk"]}]
    )
    """Names of the concepts by category, for kinds `concepts` and `signals` (category `signal`); else empty."""
    paired: bool | None = Field(default=None, examples=[None])
    """For kind `domains`: whether each image of A forms a pair with the image of B of the same name, or each image
    shows a pair side by side; validated on upload. Null for other kinds."""
    warnings: list[str] = Field(default_factory=list, examples=[["ignored, not images: README.txt"]])
    """What was ignored on upload, such as hidden files, or read in a way worth knowing."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """For a dataset made by a job: id of the model from which it was synthesized, without data."""
    provenance: Provenance | None = None
    """For a dataset made by a job: everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files by name, such as `contact-sheet.png`; download one from `…/files/{name}`."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/datasets/dts_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""


class DatasetSummary(Contract):
    """Dataset as an item of a list; `links.self` is the full record."""

    id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["cifar10-test"])
    """Name."""
    kind: DatasetKind
    """Kind of samples."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of the file."""
    bytes: int = Field(examples=[5126003])
    """Size of the file in bytes."""
    samples: int = Field(examples=[5000])
    """Number of samples."""
    class_count: int = Field(examples=[10])
    """Number of classes; 0 if unlabelled."""
    paired: bool | None = Field(default=None, examples=[None])
    """For kind `domains`: whether the images are paired. Null for other kinds."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """For a dataset made by a job: id of the model it was made from."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/datasets/dts_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return the summary of a dataset."""
        return cls(
            id=dataset.id,
            name=dataset.name,
            kind=dataset.kind,
            created_at=dataset.created_at,
            sha256=dataset.sha256,
            bytes=dataset.bytes,
            samples=dataset.samples,
            class_count=len(dataset.classes),
            paired=dataset.paired,
            derived_from_id=dataset.derived_from_id,
        )


class DatasetFilter(Contract):
    """Filter of the list of datasets."""

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["cifar10"])
    """Only datasets whose name contains this text; case is ignored."""
    kind: DatasetKind | None = None
    """Only datasets of this kind."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only datasets made from this model, such as the synthetic inputs of a quantization."""

    def matches(self, dataset: Dataset) -> bool:
        """Return whether a dataset matches the filter."""
        return (
            name_contains(self.name, dataset.name)
            and (self.kind is None or dataset.kind is self.kind)
            and (self.derived_from_id is None or dataset.derived_from_id == self.derived_from_id)
        )
