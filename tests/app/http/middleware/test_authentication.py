"""API keys: what is refused, what is allowed, and whose records are seen."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from redis import Redis

from app.http.middleware.authentication import needed_scope
from faceter.contracts.api_keys import Quota, Scope
from faceter.contracts.base import utc_now
from faceter.contracts.settings import Authentication, Settings
from faceter.store import quotas
from faceter.store.api_keys import ApiKeys
from tests.app.conftest import StartServer
from tests.app.uploads import add_dataset, add_model, image, images

Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def api(settings: Settings, start_server: StartServer) -> httpx.Client:
    """A service that needs keys."""
    return start_server(settings.model_copy(update={"authentication": Authentication.ON}))


@pytest.fixture
def bearer(redis: Redis) -> Bearer:
    """Function that creates a key and returns the header that carries it."""

    def create(*scopes: Scope, tenant: str = "default", **limits: object) -> dict[str, str]:
        given = list(scopes or (Scope.PREDICT, Scope.READ, Scope.WRITE))
        _, token = ApiKeys(redis).create("test", tenant, given, **limits)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {token}"}

    return create


def kind_of(response: httpx.Response) -> str:
    """Return status and kind of a problem."""
    return f"{response.status_code} {response.json()['type'].removeprefix('/problems/')}"


def test_without_a_key_only_open_addresses_answer(api: httpx.Client) -> None:
    refused = api.get("/v1/models")
    assert kind_of(refused) == "401 unauthenticated"
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "faceter keys create" in refused.json()["detail"]
    for path in ("/v1/jobs", "/v1/system", "/metrics", "/v1/audit"):
        assert api.get(path).status_code == 401, path
    assert api.post("/v1/models/mdl_a/predict").status_code == 401
    assert api.get("/v2/models/mdl_a").status_code == 401
    assert "API key" in api.get("/v2/models/mdl_a").json()["error"]
    for path in ("/healthz", "/docs", "/openapi.json", "/problems/unauthenticated", "/v2/health/live"):
        assert api.get(path).status_code == 200, path
    assert api.get("/", headers={"Accept": "text/html"}).status_code == 200


@pytest.mark.parametrize(
    "sent", ["Bearer", "Bearer x", "Bearer fct_a_b", "Basic Zm9v", "Bearer fct__", "Bearer fct_a_b c"]
)
def test_what_is_no_key_is_refused(api: httpx.Client, sent: str) -> None:
    assert kind_of(api.get("/v1/models", headers={"Authorization": sent})) == "401 unauthenticated"


def test_a_key_with_another_secret_is_refused(api: httpx.Client, bearer: Bearer) -> None:
    headers = bearer()
    assert api.get("/v1/models", headers=headers).status_code == 200
    assert api.get("/v1/models", headers={"Authorization": headers["Authorization"][:-1]}).status_code == 401
    assert api.get("/v1/models", headers={"Authorization": headers["Authorization"] + "a"}).status_code == 401


def test_only_a_digest_of_the_secret_is_stored(redis: Redis, bearer: Bearer) -> None:
    secret = bearer()["Authorization"].split("_", 2)[2]
    assert len(secret) >= 40
    assert not any(secret.encode() in value for value in redis.hgetall("faceter:keys").values())


def test_a_key_that_has_ended_or_was_deleted_is_refused(api: httpx.Client, redis: Redis, bearer: Bearer) -> None:
    assert api.get("/v1/models", headers=bearer(expires_at=utc_now() - timedelta(seconds=1))).status_code == 401
    headers = bearer()
    ApiKeys(redis).delete(ApiKeys(redis).all()[-1].id)
    assert api.get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/models", Scope.READ),
        ("HEAD", "/v1/jobs/job_a/events", Scope.READ),
        ("GET", "/metrics", Scope.READ),
        ("POST", "/v1/models", Scope.WRITE),
        ("POST", "/v1/models/check", Scope.WRITE),
        ("DELETE", "/v1/models/mdl_a", Scope.WRITE),
        ("POST", "/v1/jobs/job_a/finish", Scope.WRITE),
        ("POST", "/v1/models/mdl_a/predict", Scope.PREDICT),
        ("POST", "/v1/translators/trl_a/translate", Scope.PREDICT),
        ("POST", "/v2/models/mdl_a/versions/1/infer", Scope.PREDICT),
        ("GET", "/v2/models/mdl_a", Scope.PREDICT),
        ("POST", "/v2/repository/models/mdl_a/unload", Scope.WRITE),
        ("GET", "/v1/audit", Scope.ADMIN),
        ("GET", "/anything/else", Scope.READ),
        ("BREW", "/v1/models", Scope.WRITE),
    ],
)
def test_each_request_needs_a_scope(method: str, path: str, scope: Scope) -> None:
    assert needed_scope(method, path) is scope


def test_a_key_allows_what_its_scopes_say(api: httpx.Client, bearer: Bearer) -> None:
    read, predict, admin = bearer(Scope.READ), bearer(Scope.PREDICT), bearer(Scope.ADMIN)
    assert api.get("/v1/models", headers=read).status_code == 200
    refused = api.delete("/v1/models/mdl_a", headers=read)
    assert kind_of(refused) == "403 forbidden"
    assert "needs write" in refused.json()["detail"]
    sent = {**predict, "Content-Type": "image/png"}
    assert kind_of(api.post("/v1/models/mdl_a/predict", content=image(), headers=sent)) == "404 not-found"
    assert kind_of(api.get("/v1/models", headers=predict)) == "403 forbidden"
    assert kind_of(api.get("/v1/audit", headers=read)) == "403 forbidden"
    for path in ("/v1/audit", "/v1/models", "/metrics"):
        assert api.get(path, headers=admin).status_code == 200


def test_what_belongs_to_a_tenant_is_missing_for_another(api: httpx.Client, bearer: Bearer) -> None:
    api.headers.update(bearer(tenant="acme"))
    model, dataset = add_model(api), add_dataset(api, images())
    job = api.post(f"/v1/models/{model['id']}/quantizations", json={"method": "rq"}).json()
    other = bearer()
    for path in (
        f"/v1/models/{model['id']}",
        f"/v1/models/{model['id']}/content",
        f"/v1/models/{model['id']}/graph",
        f"/v1/datasets/{dataset['id']}",
        f"/v1/datasets/{dataset['id']}/samples/0/image",
        f"/v1/jobs/{job['id']}",
        f"/v1/jobs/{job['id']}/log",
    ):
        assert api.get(path).status_code in (200, 422), path
        assert kind_of(api.get(path, headers=other)) == "404 not-found", path
    assert kind_of(api.get(f"/v1/jobs/{job['id']}/events", headers=other)) == "404 not-found"
    predicting = f"/v1/models/{model['id']}/predict"
    png = {"Content-Type": "image/png"}
    assert api.post(predicting, content=image(), headers=png).status_code == 200
    assert api.post(predicting, content=image(), headers={**png, **other}).status_code == 404
    for path in (f"/v1/models/{model['id']}", f"/v1/datasets/{dataset['id']}"):
        assert api.delete(path, headers=other).status_code == 404
    assert api.post(f"/v1/jobs/{job['id']}/cancel", headers=other).status_code == 404
    for name in ("models", "datasets", "jobs"):
        assert api.get(f"/v1/{name}", headers=other).json()["items"] == []
        assert len(api.get(f"/v1/{name}").json()["items"]) == 1
    assert api.get(f"/v2/models/{model['id']}", headers=other).status_code == 404
    assert api.get("/v1/system", headers=other).json()["storage"]["records"]["models"] == 0
    used = {"reference_id": dataset["id"], "generated_id": dataset["id"], "features": {"model_id": model["id"]}}
    assert kind_of(api.post("/v1/evaluations", json=used, headers=other)) == "422 invalid-request"


def test_an_idempotency_key_is_the_tenants_own(api: httpx.Client, bearer: Bearer) -> None:
    ids = set()
    for tenant in ("acme", "other"):
        headers = {**bearer(tenant=tenant), "Idempotency-Key": "same"}
        data = {"file": ("a.zip", images(), "application/zip")}
        response = api.post("/v1/datasets", files=data, data={"kind": "images"}, headers=headers)
        assert response.status_code == 201, response.text
        ids.add(response.json()["id"])
    assert len(ids) == 2


def test_a_rate_is_kept_and_says_when_to_come_back(api: httpx.Client, bearer: Bearer) -> None:
    headers, other = bearer(requests_per_minute=3), bearer()
    answers = [api.get("/v1/models", headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers][:3] == [200, 200, 200]
    assert kind_of(answers[4]) == "429 rate-limited"
    assert 1 <= int(answers[4].headers["Retry-After"]) <= 60
    assert api.get("/v1/models", headers=other).status_code == 200


def test_a_key_may_limit_the_body(api: httpx.Client, bearer: Bearer) -> None:
    headers = bearer(max_body_bytes=1000)
    assert kind_of(api.post("/v1/models", content=b"a" * 1001, headers=headers)) == "413 payload-too-large"


def test_a_quota_of_bytes_refuses_before_the_upload(api: httpx.Client, redis: Redis, bearer: Bearer) -> None:
    api.headers.update(bearer(tenant="acme"))
    model = add_model(api)
    used = quotas.used_bytes(redis, "acme")
    assert used == model["bytes"]
    quotas.set_quota(redis, "other", Quota(max_bytes=1000))
    refused = api.post("/v1/models", content=b"a" * 2000, headers=bearer(tenant="other"))
    assert kind_of(refused) == "403 quota-exceeded"
    assert "0 of 1,000 bytes" in refused.json()["detail"]
    assert api.delete(f"/v1/models/{model['id']}").status_code == 204
    assert quotas.used_bytes(redis, "acme") == 0


def test_a_quota_of_waiting_jobs(api: httpx.Client, redis: Redis, bearer: Bearer) -> None:
    quotas.set_quota(redis, "acme", Quota(max_waiting_jobs=1))
    api.headers.update(bearer(tenant="acme"))
    model = add_model(api)
    path = f"/v1/models/{model['id']}/quantizations"
    first = api.post(path, json={"method": "rq"})
    assert first.status_code == 202
    assert kind_of(api.post(path, json={"method": "rq"})) == "403 quota-exceeded"
    api.post(f"/v1/jobs/{first.json()['id']}/cancel")
    assert api.post(path, json={"method": "rq"}).status_code == 202


def test_a_browser_signs_in_and_out(api: httpx.Client, bearer: Bearer) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")
    assert kind_of(api.post("/v1/session", json={"key": "fct_x_y"})) == "401 unauthenticated"
    signed = api.post("/v1/session", json={"key": token})
    assert signed.status_code == 204
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert api.get("/v1/models").status_code == 200
    assert kind_of(api.delete("/v1/models/mdl_a", headers={"Sec-Fetch-Site": "cross-site"})) == "403 forbidden"
    assert api.delete("/v1/session").status_code == 204
    assert api.get("/v1/models").status_code == 401


def test_changes_are_in_the_audit_log(api: httpx.Client, bearer: Bearer) -> None:
    api.headers.update(bearer(tenant="acme"))
    model = add_model(api)
    api.get("/v1/models")
    api.delete(f"/v1/models/{model['id']}", headers={"X-Request-ID": "the-deletion"})
    api.delete(f"/v1/models/{model['id']}", headers=bearer(Scope.READ, tenant="acme"))
    entries = api.get("/v1/audit", headers=bearer(Scope.ADMIN, tenant="acme")).json()["items"]
    assert [(entry["action"], entry["status"]) for entry in entries] == [
        (f"DELETE /v1/models/{model['id']}", 403),
        (f"DELETE /v1/models/{model['id']}", 204),
        ("POST /v1/models", 201),
    ]
    assert entries[1]["request_id"] == "the-deletion"
    assert entries[2]["location"] == f"/v1/models/{model['id']}"
    assert {entry["tenant"] for entry in entries} == {"acme"}
    assert entries[1]["client"] == "127.0.0.1"
    assert api.get("/v1/audit", headers=bearer(Scope.ADMIN)).json()["items"] == []


@pytest.mark.parametrize(
    ("host", "authentication", "required"),
    [
        ("127.0.0.1", "auto", False),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("127.4.5.6", "auto", False),
        ("0.0.0.0", "auto", True),
        ("::", "auto", True),
        ("10.0.0.7", "auto", True),
        ("api.lab.example", "auto", True),
        ("0.0.0.0", "off", False),
        ("127.0.0.1", "on", True),
    ],
)
def test_keys_are_needed_unless_only_this_host_can_reach_the_api(
    host: str, authentication: str, required: bool
) -> None:
    settings = Settings(_env_file=None, host=host, authentication=Authentication(authentication))
    assert settings.keys_required is required


def test_a_page_of_another_site_changes_nothing(shared_api: httpx.Client) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert kind_of(shared_api.delete("/v1/models/mdl_a", headers=headers)) == "403 forbidden"
    for own in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": str(shared_api.base_url)}, {"Sec-Fetch-Site": "none"}):
        assert kind_of(shared_api.delete("/v1/models/mdl_a", headers=own)) == "404 not-found"


def test_cors_is_off_unless_set(settings: Settings, start_server: StartServer, shared_api: httpx.Client) -> None:
    origin = {"Origin": "https://lab.example"}
    assert "access-control-allow-origin" not in shared_api.get("/v1/models", headers=origin).headers
    api = start_server(settings.model_copy(update={"cors_origins": "https://lab.example"}))
    assert api.get("/v1/models", headers=origin).headers["access-control-allow-origin"] == "https://lab.example"
    assert kind_of(api.delete("/v1/models/mdl_a", headers=origin)) == "404 not-found"
    other = {"Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in api.get("/v1/models", headers=other).headers
    preflight = {**origin, "Access-Control-Request-Method": "DELETE"}
    assert api.options("/v1/models/mdl_a", headers=preflight).status_code == 200


def test_responses_have_security_headers(shared_api: httpx.Client) -> None:
    for path in ("/v1/models", "/nothing", "/docs", "/console/main.js", "/metrics"):
        headers = shared_api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
