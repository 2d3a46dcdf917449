"""gRPC with API keys: the metadata of a call carries one."""

from collections.abc import Iterator

import httpx
import pytest
import tritonclient.grpc as triton
from redis import Redis
from tritonclient.utils import InferenceServerException

from app.main import create_app
from faceter.contracts.api_keys import Scope
from faceter.contracts.settings import Authentication, Settings
from faceter.store.api_keys import ApiKeys
from tests.app.conftest import serving
from tests.app.grpc.conftest import BothPorts
from tests.app.uploads import add_model


@pytest.fixture
def guarded(settings: Settings) -> Iterator[BothPorts]:
    """An API that needs keys."""
    app = create_app(settings.model_copy(update={"grpc_port": 0, "authentication": Authentication.ON}))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield BothPorts(app, http, f"127.0.0.1:{app.state.grpc_port}")


def bearer(redis: Redis, *scopes: Scope, tenant: str = "default") -> dict[str, str]:
    """Return the metadata that carry a new key."""
    return {"authorization": f"Bearer {ApiKeys(redis).create('test', tenant, list(scopes))[1]}"}


def test_a_call_needs_a_key_with_its_scope_and_sees_its_tenant(guarded: BothPorts, redis: Redis) -> None:
    guarded.http.headers.update(bearer(redis, Scope.WRITE, tenant="acme"))
    model = add_model(guarded.http)["id"]
    predict, read = bearer(redis, Scope.PREDICT, tenant="acme"), bearer(redis, Scope.READ, tenant="acme")
    with triton.InferenceServerClient(guarded.address) as client:
        assert client.is_server_live()
        assert client.get_model_metadata(model, headers=predict).name == model
        for headers, code in (
            ({}, "UNAUTHENTICATED"),
            ({"authorization": "Bearer fct_a_b"}, "UNAUTHENTICATED"),
            (read, "PERMISSION_DENIED"),
            (bearer(redis, Scope.PREDICT), "NOT_FOUND"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                client.get_model_metadata(model, headers=headers)
            assert code in caught.value.status()
        with pytest.raises(InferenceServerException, match="needs write"):
            client.unload_model(model, headers=predict)
