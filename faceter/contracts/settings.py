"""Every setting of the service, read from ``FACETER_…`` variables and an optional ``.env`` file."""

import hashlib
import os
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_LONGEST_SOCKET_PATH = 100


def embedded_socket(valkey_dir: Path) -> Path:
    """Return the embedded Valkey's Unix socket: in its own folder, or under ``/tmp`` where that path is too long.

    The kernel allows about 104 bytes. The path depends on nothing but the folder and the user, so that every process
    finds the same one.
    """
    path = valkey_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(valkey_dir.resolve())).hexdigest()[:16]
    return Path("/tmp") / f"faceter-{os.getuid()}" / f"{digest}.sock"


class LogFormat(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(BaseSettings):
    """Where things are kept, what is allowed, how much is said."""

    model_config = SettingsConfigDict(
        env_prefix="FACETER_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Path("faceter-data")
    """Folder for everything kept on this machine: the embedded Valkey's data and, by default, the blobs."""
    redis_url: str | None = None
    """A Redis or Valkey server to use; without it the embedded one in the data directory is used."""
    blob_url: str | None = None
    """Where files are kept: a folder, or an fsspec URL such as s3://bucket/prefix; default `<data_dir>/blobs`."""

    host: str = "127.0.0.1"
    """Address the API listens on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port the API listens on; 0 takes a free one."""

    log_level: LogLevel = LogLevel.INFO
    """debug, info, warning or error."""
    log_format: LogFormat = LogFormat.CONSOLE
    """console for people, json for machines."""

    max_model_bytes: PositiveInt = 1 * _GIB
    """Largest model file accepted."""
    max_dataset_bytes: PositiveInt = 4 * _GIB
    """Largest dataset file accepted."""
    max_unpacked_bytes: PositiveInt = 16 * _GIB
    """Most bytes an archive may unpack to."""
    max_archive_entries: PositiveInt = 500_000
    """Most files in an archive."""
    max_predict_bytes: PositiveInt = 64 * _MIB
    """Largest body of a predict request."""
    max_json_bytes: PositiveInt = 1 * _MIB
    """Largest JSON body of any other request."""
    max_pixels: PositiveInt = 100_000_000
    """Most pixels of one image."""
    max_batch: PositiveInt = 256
    """Most images or rows in one predict request."""

    session_cache_bytes: PositiveInt = 2 * _GIB
    """Memory the loaded models of the API may take together, by their size in memory as estimated."""
    inference_threads: PositiveInt = 1
    """Threads of one ONNX Runtime session; several sessions of one thread serve small models best."""
    inference_workers: PositiveInt = Field(default=4)
    """Predictions running at the same time in one API process."""
    max_waiting_predictions: PositiveInt = 64
    """Predictions waiting for their turn in one API process; beyond that a new one is answered 503 with Retry-After."""
    inference_seconds: PositiveFloat = 60.0
    """Longest one prediction, or the trial run of an uploaded model, may take."""

    translation_seconds: PositiveFloat = 600.0
    """Longest the translation of one request may take."""
    translation_bytes: PositiveInt = 1 * _GIB
    """Memory that one translation may take for an image's tensors, as estimated; larger images go in tiles."""

    max_queued_jobs: PositiveInt = 10_000
    """Most jobs waiting; beyond that a new one is answered 503 with Retry-After."""
    job_timeout_seconds: PositiveInt = 24 * 3600
    """Longest a job may run."""
    max_tuning_minutes: PositiveFloat = 12 * 60.0
    """Longest `max_minutes` a quantization or a translator may ask for."""
    max_tuning_steps: PositiveInt = 1_000_000
    """Most `max_steps` a quantization may ask for."""
    max_evaluation_bytes: PositiveInt = 4 * _GIB
    """Most memory an evaluation may take, as estimated before it is queued."""
    checkpoint_seconds: PositiveFloat = 45.0
    """A job that trains keeps a checkpoint this often."""
    job_retention_seconds: PositiveInt = 30 * 24 * 3600
    """How long an ended job can be looked up; its results stay."""
    job_attempts: PositiveInt = 2
    """How often a job is started, when its worker dies, before it fails for that reason."""
    worker_lost_seconds: PositiveInt = Field(default=30, ge=5)
    """A running job whose worker has been silent this long is taken up again or failed."""
    idempotency_seconds: PositiveInt = 24 * 3600
    """How long an Idempotency-Key is remembered."""
    events_heartbeat_seconds: PositiveFloat = 10.0
    """Longest silence on an event stream."""

    @property
    def resolved_blob_url(self) -> str:
        """`blob_url`, or the folder inside the data directory that stands in for it."""
        return self.blob_url or str(self.data_dir.absolute() / "blobs")

    @property
    def scratch_dir(self) -> Path:
        """The folder for files that no other process needs."""
        return self.data_dir / "scratch"

    @property
    def valkey_dir(self) -> Path:
        """The embedded Valkey server's own folder."""
        return self.data_dir.absolute() / "valkey"

    @property
    def resolved_redis_url(self) -> str:
        """`redis_url`, or the embedded server's Unix socket."""
        return self.redis_url or f"unix://{quote(str(embedded_socket(self.valkey_dir)))}"
