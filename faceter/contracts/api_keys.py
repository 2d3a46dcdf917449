"""API keys, quotas of tenants, and the audit log."""

from enum import StrEnum

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp


class Scope(StrEnum):
    """What an API key allows."""

    PREDICT = "predict"
    """Run models and translators."""
    READ = "read"
    """Get and list everything of the tenant, and the state of the service."""
    WRITE = "write"
    """Upload, submit jobs, cancel, delete."""
    ADMIN = "admin"
    """All of these, and the audit log of the tenant."""


class ApiKey(Contract):
    """An API key; its secret is stored as a SHA-256 only."""

    id: str
    """Its id, a part of the key itself."""
    name: str
    """What it is for."""
    tenant: str
    """Tenant whose records and jobs it sees."""
    scopes: list[Scope]
    """What it allows."""
    digest: str
    """SHA-256 of the secret, hexadecimal."""
    created_at: Timestamp
    """When it was created."""
    expires_at: Timestamp | None = None
    """When it ends; null for never."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Maximum number of requests in a minute; null for no limit."""
    max_body_bytes: int | None = Field(default=None, ge=1)
    """Maximum body of a request in bytes; null for the limits of the server."""

    def allows(self, scope: Scope) -> bool:
        """Return whether the key allows what needs a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class Quota(Contract):
    """Limits of a tenant; null for none."""

    max_bytes: int | None = Field(default=None, ge=0)
    """Maximum size of all files of its records in bytes, each record's counted in full."""
    max_waiting_jobs: int | None = Field(default=None, ge=0)
    """Maximum number of waiting jobs."""


class AuditEntry(Contract):
    """A request that changed something, or was to."""

    at: Timestamp
    """When it was answered."""
    tenant: str = Field(examples=["default"])
    """Tenant that it acted for."""
    key_id: str | None = Field(default=None, examples=["key_4x8k2m9q0v7r3t6w1y5z"])
    """API key; null where the service needs none."""
    key_name: str | None = Field(default=None, examples=["ci"])
    """Name of that key."""
    action: str = Field(examples=["POST /v1/models"])
    """Method and path of the request, or command of the operator."""
    status: int = Field(examples=[201])
    """HTTP status of the response; 0 for a command."""
    location: str | None = Field(default=None, examples=["/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Address of what was created."""
    request_id: str = Field(default="", examples=["6f2a1c"])
    """`X-Request-ID` of the request."""
    client: str = Field(default="", examples=["10.0.0.7"])
    """Address of the client."""
