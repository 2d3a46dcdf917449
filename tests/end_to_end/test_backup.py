"""A service is backed up while it is used, and restored to one that answers with the same bytes."""

import threading
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from faceter.cli.main import application
from tests.end_to_end.up_process import Start, wait_until

pytestmark = pytest.mark.end_to_end


def _faceter(*arguments: str) -> Result:
    return CliRunner().invoke(application, arguments)


def _upload(url: str, text: str) -> tuple[str, bytes]:
    content = b"".join(b'{"text": "%s", "label": "%s"}\n' % (text.encode(), label) for label in (b"a", b"b"))
    form = {"name": "texts", "kind": "texts"}
    answer = httpx.post(f"{url}/v1/datasets", files={"file": ("a.txt", content)}, data=form, timeout=30)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], content


def test_a_backup_beside_uploads_restores_what_was_there(
    short_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(short_path)
    first = start(short_path / "data", "--port", "0", "--workers", "0")
    url = first.url
    before = dict(_upload(url, f"number {number}") for number in range(5))
    meanwhile: dict[str, bytes] = {}
    stop = threading.Event()

    def upload_and_delete() -> None:
        while not stop.is_set():
            id, content = _upload(url, f"another {len(meanwhile)}")
            meanwhile[id] = content
            if len(meanwhile) % 2:
                httpx.delete(f"{url}/v1/datasets/{id}", timeout=30).raise_for_status()

    uploads = threading.Thread(target=upload_and_delete)
    uploads.start()
    try:
        wait_until(lambda: len(meanwhile) > 2, lambda: f"nothing was uploaded: {first.output}")
        done = _faceter("backup", "a.tar", "--data-dir", "data")
    finally:
        stop.set()
        uploads.join()
    assert (done.exit_code, done.stderr) == (0, "")
    healthy = _faceter("doctor", "--deep", "--data-dir", "data")
    assert (healthy.exit_code, healthy.stdout) == (0, "Nothing found.\n")
    refused = _faceter("restore", "a.tar", "--data-dir", "data")
    assert refused.exit_code == 2
    assert "already up" in refused.stderr

    done = _faceter("restore", "a.tar", "--data-dir", "new")
    assert (done.exit_code, done.stderr) == (0, "")
    restored = start(short_path / "new", "--port", "0", "--workers", "0").url
    listed = httpx.get(f"{restored}/v1/datasets", params={"limit": 100}, timeout=30).json()["items"]
    assert {item["id"] for item in listed} >= set(before)
    known = before | meanwhile
    for item in listed:
        answer = httpx.get(f"{restored}/v1/datasets/{item['id']}/content", timeout=30)
        assert answer.content == known[item["id"]]
