"""Commands of the operator on access: API keys, quotas of tenants, the audit log."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, Final

import typer
from redis import Redis

from faceter.contracts.api_keys import ApiKey, AuditEntry, Quota, Scope
from faceter.contracts.base import utc_now
from faceter.store import audit_log, quotas
from faceter.store.api_keys import ApiKeys
from faceter.store.tenants import DEFAULT_TENANT, TENANT_NAME, all_tenants

keys = typer.Typer(help="Create, list and delete API keys.", no_args_is_help=True)
tenants = typer.Typer(help="List tenants, and set their quotas.", no_args_is_help=True)

_SCOPES: Final = [Scope.PREDICT, Scope.READ, Scope.WRITE]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(keys, name="keys")
    application.add_typer(tenants, name="tenants")
    application.command("audit")(audit)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for, such as ci.")],
    tenant: Annotated[str, typer.Option(help="Tenant whose models, datasets and jobs it sees.")] = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope], typer.Option(help="What it allows; repeat it for several.", show_default="predict, read, write")
    ] = _SCOPES,
    days: Annotated[int | None, typer.Option(help="Days until it ends; never by default.", min=1)] = None,
    rate: Annotated[int | None, typer.Option(help="Maximum number of requests in a minute.", min=1)] = None,
    max_body: Annotated[int | None, typer.Option(help="Maximum body of a request, in bytes.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key, and print it. It is shown this once: only its SHA-256 is stored."""
    if not TENANT_NAME.fullmatch(tenant):
        raise typer.BadParameter("must be 1 to 63 lower-case letters, digits, - and _", param_hint="--tenant")
    with _store() as redis:
        key, token = ApiKeys(redis).create(
            name,
            tenant,
            list(dict.fromkeys(scope)),
            expires_at=None if days is None else utc_now() + timedelta(days=days),
            requests_per_minute=rate,
            max_body_bytes=max_body,
        )
        _audit(redis, f"faceter keys create {key.id}", tenant)
    if as_json:
        typer.echo(json.dumps({**_shown(key), "key": token}, indent=2))
        return
    typer.echo(token)
    typer.echo(f"{key.id}, tenant {tenant}, scopes {', '.join(key.scopes)}. Keep it: it is not shown again.", err=True)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the API keys, without their secrets."""
    with _store() as redis:
        found = ApiKeys(redis).all()
    rows = [_shown(key) for key in found]
    _print(rows, as_json, "There is no API key. Create one with: faceter keys create NAME")


@keys.command("delete")
def delete_key(id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Delete an API key. Servers refuse it within five seconds."""
    with _store() as redis:
        key = ApiKeys(redis).delete(id)
        _audit(redis, f"faceter keys delete {id}", key.tenant)
    typer.echo(f"{id} is deleted; servers refuse it within five seconds.")


@tenants.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List the tenants, what they use, and their quotas."""
    with _store() as redis:
        limits = quotas.all_quotas(redis)
        names = dict.fromkeys([*all_tenants(redis), *(key.tenant for key in ApiKeys(redis).all()), *limits])
        rows = [
            {"tenant": name, "bytes": quotas.used_bytes(redis, name), **limits.get(name, Quota()).model_dump()}
            for name in names
        ]
    _print(rows, as_json, "")


@tenants.command("set")
def set_quota(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    max_bytes: Annotated[
        int | None, typer.Option(help="Maximum size of all its files; none by default.", min=0)
    ] = None,
    max_waiting_jobs: Annotated[
        int | None, typer.Option(help="Maximum number of its waiting jobs; none by default.", min=0)
    ] = None,
) -> None:
    """Set the quota of a tenant. A limit that is not given is removed."""
    if not TENANT_NAME.fullmatch(tenant):
        raise typer.BadParameter("must be 1 to 63 lower-case letters, digits, - and _", param_hint="TENANT")
    with _store() as redis:
        quotas.set_quota(redis, tenant, Quota(max_bytes=max_bytes, max_waiting_jobs=max_waiting_jobs))
        _audit(redis, f"faceter tenants set {tenant}", tenant)
    typer.echo(f"The quota of {tenant} is set; servers notice within five seconds.")


def audit(
    last: Annotated[int, typer.Option(help="Number of entries.", min=1)] = 100,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the newest entries of the audit log: requests that changed something, and commands of the operator."""
    with _store() as redis:
        entries = audit_log.newest(redis, last, tenant)
    _print([entry.model_dump(mode="json", exclude_none=True) for entry in entries], as_json, "Nothing was changed yet.")


def _shown(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(mode="json", exclude={"digest"}, exclude_none=True)


def _audit(redis: Redis, action: str, tenant: str) -> None:
    audit_log.append(redis, AuditEntry(at=utc_now(), tenant=tenant, action=action, status=0))


def _print(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(nothing)
    else:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
        for line in lines:
            typer.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)


@contextmanager
def _store() -> Iterator[Redis]:
    """Yield a connection to the store of the settings; leaves with a message if it cannot be reached."""
    from faceter.cli.opened_store import opened_store
    from faceter.cli.settings import load_settings
    from faceter.contracts.errors import FaceterError
    from faceter.processes.embedded_store import EmbeddedValkeyError
    from faceter.processes.errors import SupervisorError

    settings = load_settings()
    unused = settings.redis_url is None and not settings.valkey_dir.is_dir()
    try:
        with opened_store(settings, new=unused) as store:
            yield store.library.redis
    except (FaceterError, EmbeddedValkeyError, SupervisorError, OSError, ValueError) as error:
        typer.echo(f"faceter: {error}", err=True)
        raise typer.Exit(2) from error
