"""Commands on API keys, tenants and the audit log, on a real store."""

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from faceter.cli.main import application
from faceter.contracts.api_keys import Scope
from faceter.contracts.settings import Settings
from faceter.store.api_keys import ApiKeys
from faceter.store.quotas import quota_of


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Function that runs a command on the store of the test, and returns its result."""
    monkeypatch.setenv("FACETER_REDIS_URL", str(settings.redis_url))
    monkeypatch.setenv("FACETER_DATA_DIR", str(settings.data_dir))
    return lambda *arguments: CliRunner().invoke(application, list(arguments))


def test_a_key_is_shown_once_and_works(run: Any, redis: Redis) -> None:
    made = run("keys", "create", "ci", "--tenant", "vision", "--scope", "read", "--days", "2", "--rate", "60")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    key = ApiKeys(redis).find(token)
    assert key is not None
    assert (key.name, key.tenant, key.scopes, key.requests_per_minute) == ("ci", "vision", [Scope.READ], 60)
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days in (1, 2)
    listed = run("keys", "list", "--json")
    assert [row["id"] for row in json.loads(listed.stdout)] == [key.id]
    assert token.rpartition("_")[2] not in listed.output
    assert key.digest not in listed.output
    assert run("keys", "delete", key.id).exit_code == 0
    assert ApiKeys(redis).find(token) is None
    gone = run("keys", "delete", key.id)
    assert gone.exit_code == 2
    assert "There is no key" in gone.output


def test_scopes_by_default(run: Any) -> None:
    made = json.loads(run("keys", "create", "ci", "--json").stdout)
    assert made["scopes"] == ["predict", "read", "write"]
    assert made["key"].startswith("fct_")


@pytest.mark.parametrize("name", ["Vision", "a b", "", "-a", "a" * 64, "a:b", "../a"])
def test_a_name_that_is_no_tenant_is_refused(run: Any, name: str) -> None:
    refused = run("keys", "create", "ci", "--tenant", name)
    assert refused.exit_code == 2
    assert "lower-case letters" in refused.output


def test_quotas_are_set_and_listed(run: Any, redis: Redis) -> None:
    assert run("tenants", "set", "vision", "--max-bytes", "1000", "--max-waiting-jobs", "0").exit_code == 0
    assert quota_of(redis, "vision").max_bytes == 1000
    rows = json.loads(run("tenants", "list", "--json").stdout)
    assert [(row["tenant"], row["bytes"], row["max_waiting_jobs"]) for row in rows] == [
        ("default", 0, None),
        ("vision", 0, 0),
    ]
    assert run("tenants", "set", "vision").exit_code == 0
    assert quota_of(redis, "vision").max_bytes is None


def test_commands_are_in_the_audit_log(run: Any) -> None:
    assert "Nothing was changed yet" in run("audit").output
    run("keys", "create", "ci", "--tenant", "vision")
    run("tenants", "set", "default", "--max-bytes", "5")
    actions = [entry["action"] for entry in json.loads(run("audit", "--json").stdout)]
    assert actions[0] == "faceter tenants set default"
    assert actions[1].startswith("faceter keys create key_")
    assert len(json.loads(run("audit", "--json", "--tenant", "vision").stdout)) == 1


def test_keys_are_made_before_the_first_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETER_DATA_DIR", str(tmp_path / "new"))
    made = CliRunner().invoke(application, ["keys", "create", "first"])
    assert made.exit_code == 0, made.output
    listed = CliRunner().invoke(application, ["keys", "list", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == ["first"]
