"""Datasets: one file each, checked on arrival."""

from enum import StrEnum

from pydantic import Field

from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, Timestamp


class DatasetKind(StrEnum):
    """What a dataset holds, and so what its file looks like."""

    IMAGES = "images"
    """A zip of images; class folders optional, the folder's name being the class."""
    DETECTION = "detection"
    """A zip with `images/` and `annotations.json` in COCO format."""
    SIGNALS = "signals"
    """An `.npz` with `signals` [N, channels, length], optional `labels` [N], `concepts` [N, length] (or [N, M, length],
    up to M at once) and their names."""
    CONCEPTS = "concepts"
    """A zip with `images/`, `labels/CATEGORY/` (a PNG for each image, of the numbers of concepts) and `concepts.json`,
    their names; optional `image_labels.csv` for concepts of whole images."""
    TEXT_PAIRS = "text_pairs"
    """A zip with `pairs.jsonl`, `vocab.txt` and optional `vectors.txt`."""
    FEATURES = "features"
    """An `.npz` with `features` [N, D], a row for each sample, and optional `labels` [N]."""
    DOMAINS = "domains"
    """A zip with `A/` and `B/`, the images of two domains between which a model is to translate; optionally in pairs
    of the same name."""


class Dataset(Contract):
    """A dataset the service keeps."""

    id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["cifar10-test"])
    """The name it was given."""
    kind: DatasetKind
    """What it holds."""
    created_at: Timestamp
    """When it was added."""
    sha256: Sha256
    """SHA-256 of its file; equal files are stored once."""
    bytes: int = Field(examples=[5126003])
    """Size of its file."""
    samples: int = Field(examples=[5000])
    """How many samples it holds."""
    classes: list[str] = Field(default_factory=list, examples=[["airplane", "automobile"]])
    """Names of its classes; empty if it is not labelled. Of kind `domains`, its domains: A and B."""
    class_counts: dict[str, int] = Field(default_factory=dict, examples=[{"airplane": 500, "automobile": 500}])
    """Samples (or boxes) of each class; of kind `domains`, images of each domain."""
    concepts: dict[str, list[str]] = Field(
        default_factory=dict, examples=[{"object": ["sky", "road", "car"], "scene": ["day", "dusk"]}]
    )
    """Names of its concepts by category: of kind `concepts`, and of `signals` (category `signal`); else empty."""
    paired: bool | None = Field(default=None, examples=[None])
    """Of kind `domains` only: whether each image of A is one of a pair with the image of B of the same name, which
    was checked on arrival. Null for other kinds."""
    warnings: list[str] = Field(default_factory=list, examples=[["passed over, not images: README.txt"]])
    """What was passed over on arrival, such as hidden files."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """For a dataset that was made here: the model it was made from, without any data."""
    provenance: Provenance | None = None
    """For a dataset that was made here: everything needed to make it again."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files that belong to it, by name, such as `contact-sheet.png`; `…/files/{name}` downloads one."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/datasets/dts_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""
