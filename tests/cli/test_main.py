"""The ``faceter`` command, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faceter.contracts.settings import Settings
from faceter.processes.addresses import mask_password

_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FACETER_")}


def _faceter(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faceter", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=_ENVIRONMENT | environment,
        timeout=300,
        check=False,
    )


def _settings(cwd: Path, **environment: str) -> dict[str, dict[str, Any]]:
    done = _faceter("settings", "--json", cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_settings_lists_every_setting_with_its_value_and_meaning(tmp_path: Path) -> None:
    rows = _settings(tmp_path)
    assert list(rows) == list(Settings.model_fields)
    assert rows["port"] == {
        "name": "port",
        "variable": "FACETER_PORT",
        "value": 8000,
        "source": "default",
        "description": "Port on which the API listens; 0 selects a free one.",
    }
    assert all(row["description"] for row in rows.values())
    text = _faceter("settings", cwd=tmp_path).stdout
    for row in rows.values():
        assert row["variable"] in text


def test_settings_reports_sources_and_the_environment_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FACETER_PORT=1234\nFACETER_MAX_BATCH=7\n")
    rows = _settings(tmp_path, FACETER_PORT="4321", FACETER_LOG_LEVEL="debug")
    told = {name: (rows[name]["value"], rows[name]["source"]) for name in ("port", "max_batch", "log_level", "host")}
    assert told == {
        "port": (4321, "environment"),
        "max_batch": (7, ".env file"),
        "log_level": ("debug", "environment"),
        "host": ("127.0.0.1", "default"),
    }


def test_settings_shows_the_resolved_value_of_an_unset_address(tmp_path: Path) -> None:
    rows = _settings(tmp_path, FACETER_REDIS_URL="")
    assert rows["redis_url"]["value"].startswith("unix://")
    assert rows["redis_url"]["source"] == "default"
    assert rows["blob_url"]["value"] == str(tmp_path / "faceter-data" / "blobs")


def test_settings_shows_no_password(tmp_path: Path) -> None:
    done = _faceter("settings", cwd=tmp_path, FACETER_REDIS_URL="redis://reader:hunter2@store:6379/0")
    assert "redis://reader:***@store:6379/0" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
        ("rediss://user:p%40ss@[::1]:1", "rediss://user:***@[::1]:1"),
        ("redis://host", "redis://host"),
        ("unix:///run/a@b:c.sock", "unix:///run/a@b:c.sock"),
        ("redis://host?db=1&password=secret", "redis://host?db=1&password=***"),
        (
            "redis+sentinel://u:s@a:1,b:2/x?sentinel_password=t",
            "redis+sentinel://u:***@a:1,b:2/x?sentinel_password=***",
        ),
    ],
)
def test_mask_password_hides_the_password_and_nothing_else(url: str, shown: str) -> None:
    assert mask_password(url) == shown


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    done = _faceter("settings", cwd=tmp_path, FACETER_MAX_BATCH="many")
    assert done.returncode == 2
    assert "FACETER_MAX_BATCH" in done.stderr
    assert "'many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_version(tmp_path: Path) -> None:
    done = _faceter("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "faceter 0.1.0\n")


@pytest.mark.parametrize("command", ["up", "api", "worker", "health", "settings", "export-torch"])
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    done = _faceter(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_health_without_an_api_fails(tmp_path: Path) -> None:
    done = _faceter("health", "--port", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "http://127.0.0.1:1 does not respond\n")


@pytest.mark.parametrize("shape", ["", "a,-1", "1,0,8,8", "1;2"])
def test_export_torch_requires_a_shape(tmp_path: Path, shape: str) -> None:
    done = _faceter("export-torch", "models:Network", "--input-shape", shape, cwd=tmp_path)
    assert done.returncode == 2
    assert "1,3,32,32" in done.stderr


def test_export_torch_writes_a_model_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        "from torch import nn\n"
        "def network():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())\n"
    )
    done = _faceter("export-torch", "models:network", "--input-shape", "1,3,8,8", "--output", "net.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of them BatchNormalization" in done.stdout
    assert done.stderr == ""
    assert (tmp_path / "net.onnx").stat().st_size > 0

    missing = _faceter("export-torch", "models:other", "--input-shape", "1,3,8,8", cwd=tmp_path)
    assert missing.returncode == 2
    assert "has no 'other'" in missing.stderr
    assert not (tmp_path / "model.onnx").exists()


def test_export_torch_takes_a_class_with_weights_and_named_sizes(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        "import torch\n"
        "class Scorer(torch.nn.Module):\n"
        "    def __init__(self, words):\n"
        "        super().__init__()\n"
        "        self.words = torch.nn.Embedding(words, 4)\n"
        "    def forward(self, ids, mask=None):\n"
        "        return (self.words(ids) * mask[..., None]).sum(1)\n"
        "if __name__ == '__main__':\n"
        "    weights = {f'module.{name}': value for name, value in Scorer(9).state_dict().items()}\n"
        "    torch.save({'state_dict': weights}, 'scorer.pth')\n"
    )
    subprocess.run([sys.executable, "models.py"], cwd=tmp_path, check=True)
    shapes = ["--input-shape", "mask=N,L", "--input-shape", "ids=N,L", "--input-dtype", "ids=int64"]
    options = [*shapes, "--input-range", "ids=0:8", "--weights", "scorer.pth"]
    done = _faceter("export-torch", "models:Scorer", *options, "--argument", "words=9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "inputs 'ids' [N, L], 'mask' [N, L], output 'output' [N, 4]; its outputs equal" in done.stdout
    assert "Note: weights under 'state_dict'; prefix 'module.' removed." in done.stdout
    wrong = _faceter("export-torch", "models:Scorer", *options, "--argument", "words=8", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "words.weight [9, 4] instead of [8, 4]" in wrong.stderr
    assert "Traceback" not in wrong.stderr
