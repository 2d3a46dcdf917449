"""Settings of the service, read from ``FACETER_…`` variables and an optional ``.env`` file."""

import hashlib
import os
from contextlib import suppress
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from faceter.contracts.queue_names import QueueName
from faceter.host import memory_bytes, processor_count

_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_BYTES_PER_VALUE = 4
_LONGEST_SOCKET_PATH = 100


def embedded_socket(valkey_dir: Path) -> Path:
    """Return the Unix socket of the embedded Valkey: in its folder, or under ``/tmp`` if that path is too long.

    The kernel allows about 104 bytes. The path depends only on the folder and the user, so that all processes use
    the same one.
    """
    path = valkey_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(valkey_dir.resolve())).hexdigest()[:16]
    return Path("/tmp") / f"faceter-{os.getuid()}" / f"{digest}.sock"


def is_loopback(host: str) -> bool:
    """Return whether only programs of this host reach an address."""
    with suppress(ValueError):
        return ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


class LogFormat(StrEnum):
    """Format of log lines."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """Minimum level of logged messages."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Authentication(StrEnum):
    """Whether requests need an API key."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Settings(BaseSettings):
    """Settings of the service: storage, network, logging, limits."""

    model_config = SettingsConfigDict(
        env_prefix="FACETER_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Path("faceter-data")
    """Folder for local data: the embedded Valkey and, by default, the blobs."""
    reserve_bytes: NonNegativeInt = 32 * _MIB
    """Room in bytes kept back in the data directory, so that deleting works where its disk is full; 0 for none."""
    redis_url: str | None = None
    """URL of a Redis or Valkey server (`redis://`, `rediss://` by TLS), or of Sentinels
    (`redis+sentinel://host:port,host:port/service`); by default an embedded one in the data directory is used."""
    blob_url: str | None = None
    """Storage of files: a folder, or an fsspec URL such as s3://bucket/prefix; default `<data_dir>/blobs`."""

    host: str = "127.0.0.1"
    """Address on which the API listens."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port on which the API listens; 0 selects a free one."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Open Inference Protocol over gRPC; 0 selects a free one. By default there is none; it needs the extra
    `grpc`."""

    authentication: Authentication = Authentication.AUTO
    """Whether requests need an API key (`faceter keys create`): auto, on or off. With auto they need one unless the API
    listens on a loopback address only."""
    cors_origins: str = ""
    """Origins of other sites whose pages may use the API, separated by commas, such as https://lab.example; none by
    default."""
    header_seconds: PositiveFloat = 20.0
    """Maximum time in seconds in which a connection must bring the whole header of a request."""
    body_idle_seconds: PositiveFloat = 60.0
    """Maximum time in seconds between two parts of the body of a request."""
    max_header_bytes: PositiveInt = 64 * 1024
    """Maximum header of a request in bytes."""
    max_connections: PositiveInt = 4096
    """Maximum number of open connections of one API process; further ones are answered with 503."""

    log_level: LogLevel = LogLevel.INFO
    """Log level: debug, info, warning or error."""
    log_format: LogFormat = LogFormat.CONSOLE
    """Log format: console (human-readable) or json."""

    max_model_bytes: PositiveInt = 1 * _GIB
    """Maximum size of a model file in bytes."""
    check_bytes: PositiveInt = 8 * _GIB
    """Maximum memory in bytes of the process that checks an uploaded model: it parses, folds, loads and runs it."""
    check_seconds: PositiveFloat = 120.0
    """Maximum duration of the check of an uploaded model, in seconds."""
    max_tokenizer_bytes: PositiveInt = 64 * _MIB
    """Maximum size of a model's `tokenizer.json` in bytes."""
    max_dataset_bytes: PositiveInt = 4 * _GIB
    """Maximum size of a dataset file in bytes."""
    max_unpacked_bytes: PositiveInt = 16 * _GIB
    """Maximum unpacked size of an archive in bytes."""
    max_archive_entries: PositiveInt = 500_000
    """Maximum number of files in an archive."""
    max_predict_bytes: PositiveInt = 64 * _MIB
    """Maximum body of a predict request in bytes."""
    max_json_bytes: PositiveInt = 1 * _MIB
    """Maximum JSON body of all other requests in bytes."""
    max_pixels: PositiveInt = 100_000_000
    """Maximum number of pixels of an image."""
    max_batch: PositiveInt = 256
    """Maximum number of images or rows in a predict request."""

    api_processes: PositiveInt = 1
    """Processes of the API behind one port. Each has its own loaded models, threads and queues."""
    session_cache_bytes: PositiveInt = 2 * _GIB
    """Maximum memory in bytes for the loaded models of the API, by their estimated size in memory."""
    inference_threads: PositiveInt = 1
    """Threads per ONNX Runtime session; for small models, several sessions of one thread are fastest."""
    inference_workers: PositiveInt | None = None
    """Maximum number of concurrent predictions in one API process; by default the cores that each process has."""
    measure_serving: bool = True
    """Whether to measure which engine and batch size serve a model fastest on this host, when it is first loaded."""
    max_waiting_predictions: PositiveInt = 512
    """Maximum number of waiting predictions in one API process; further ones are rejected with 503 and Retry-After."""
    max_waiting_per_model: PositiveInt = 256
    """Maximum number of waiting predictions of one model in one API process; further ones are rejected with 429."""
    max_waiting_bytes: PositiveInt = _GIB
    """Maximum memory in bytes for the bodies of waiting predictions in one API process."""
    inference_seconds: PositiveFloat = 60.0
    """Maximum duration of a prediction, or of the test run of an uploaded model, in seconds."""

    prediction_bytes: PositiveInt | None = None
    """Maximum memory in bytes for the tensors of all predictions in one API process, beside the loaded models; by
    default 8 GiB, or a quarter of the host's memory if that is less."""

    translation_seconds: PositiveFloat = 600.0
    """Maximum duration of a translate request in seconds."""
    translation_bytes: PositiveInt = 1 * _GIB
    """Maximum estimated memory for the tensors of an image in a translation, in bytes; larger images are translated in
    tiles."""

    max_queued_jobs: PositiveInt = 10_000
    """Maximum number of queued jobs; further ones are rejected with 503 and Retry-After."""
    job_timeout_seconds: PositiveInt = 24 * 3600
    """Maximum run time of a job in seconds."""
    max_tuning_minutes: PositiveFloat = 12 * 60.0
    """Maximum `max_minutes` of a quantization or a translator."""
    max_tuning_steps: PositiveInt = 1_000_000
    """Maximum `max_steps` of a quantization."""
    max_evaluation_bytes: PositiveInt = 4 * _GIB
    """Maximum memory of an evaluation in bytes, as estimated before it is queued."""
    shard_pairs: PositiveInt | None = None
    """Pairs of samples in a shard of an evaluation, such as 1000000000. An evaluation with more is divided among
    workers if there are several; by default none is."""
    shard_samples: PositiveInt | None = None
    """Samples in a shard of an explanation, such as 1000. An explanation with more is divided among workers if there
    are several; by default none is."""
    training_processes: PositiveInt = 1
    """Processes of a worker that share the training of a translator, or the tuning by `auto` and `ft`: each has a share
    of every batch, and a GPU of its own where there are as many. They give what one process gives, to rounding."""
    checkpoint_seconds: PositiveFloat = 60.0
    """Interval between checkpoints of a job, in seconds."""
    job_retention_seconds: PositiveInt = 30 * 24 * 3600
    """Retention time of ended jobs in seconds; results are kept."""
    worker_queues: str = "quick,cpu,gpu"
    """Queues that a worker takes jobs from. One without a GPU takes jobs of `gpu` only while no worker with a GPU
    lives."""
    job_attempts: PositiveInt = 2
    """Maximum number of attempts of a job whose worker dies; after that the job fails."""
    worker_lost_seconds: PositiveInt = Field(default=30, ge=5)
    """Seconds without renewal of its lease after which a running job is started again or failed."""
    idempotency_seconds: PositiveInt = 24 * 3600
    """Retention time of an Idempotency-Key in seconds."""
    events_heartbeat_seconds: PositiveFloat = 10.0
    """Interval of heartbeats on an idle event stream, in seconds."""

    @field_validator("worker_queues")
    @classmethod
    def _known_queues(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        if not names or not set(names) <= set(QueueName):
            raise ValueError(f"must be one or more of {', '.join(QueueName)}, separated by commas")
        return ",".join(dict.fromkeys(names))

    def environment(self) -> dict[str, str]:
        """Return the variables that give another process the same settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"FACETER_{name.upper()}": str(value) for name, value in values.items()}

    @property
    def concurrent_predictions(self) -> int:
        """Number of concurrent predictions in one API process: `inference_workers`, or the cores it has."""
        return self.inference_workers or max(1, processor_count() // (self.api_processes * self.inference_threads))

    @property
    def keys_required(self) -> bool:
        """Whether requests need an API key."""
        if self.authentication is Authentication.AUTO:
            return not is_loopback(self.host)
        return self.authentication is Authentication.ON

    @property
    def origins(self) -> list[str]:
        """The origins of `cors_origins`."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def queues_of_worker(self) -> tuple[QueueName, ...]:
        """The queues of `worker_queues`."""
        return tuple(QueueName(name) for name in self.worker_queues.split(","))

    @property
    def bytes_of_predictions(self) -> int:
        """`prediction_bytes`, or by default 8 GiB or a quarter of the memory of the host."""
        return self.prediction_bytes or min(8 * _GIB, memory_bytes() // 4)

    @property
    def max_tensor_values(self) -> int:
        """Limit of the values of one tensor of a model: as many float32 as the memory of loaded models holds."""
        return self.session_cache_bytes // _BYTES_PER_VALUE

    @property
    def resolved_blob_url(self) -> str:
        """`blob_url`, or by default the folder ``blobs`` in the data directory."""
        return self.blob_url or str(self.data_dir.absolute() / "blobs")

    @property
    def scratch_dir(self) -> Path:
        """Folder for temporary files of a process."""
        return self.data_dir / "scratch"

    @property
    def weights_dir(self) -> Path:
        """Folder of the weights that API processes share."""
        return self.scratch_dir.absolute() / "weights"

    @property
    def valkey_dir(self) -> Path:
        """Folder of the embedded Valkey server."""
        return self.data_dir.absolute() / "valkey"

    @property
    def resolved_redis_url(self) -> str:
        """`redis_url`, or by default the Unix socket of the embedded server."""
        return self.redis_url or f"unix://{quote(str(embedded_socket(self.valkey_dir)))}"
