from typing import Any

import pytest

from faceter.store.sentinel import SentinelAddress


def test_an_address_with_everything() -> None:
    url = "redis+sentinel://me:p%40ss@a:1,[::1]:2,c/main/3?sentinel_password=s%26t&socket_timeout=2"
    address = SentinelAddress.of_url(url)
    assert address.sentinels == (("a", 1), ("::1", 2), ("c", 26379))
    assert address.service == "main"
    assert address.options == {"username": "me", "password": "p@ss", "db": 3, "socket_timeout": 2.0}
    assert address.sentinel_options == {"password": "s&t"}


def test_by_tls_both_are_reached_with_the_same_authority() -> None:
    address = SentinelAddress.of_url("rediss+sentinel://a,b/main?ssl_ca_certs=/ca.pem")
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert address.sentinel_options == tls
    assert address.options == {"db": 0, **tls}


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("redis+sentinel://a:x/main", "'x'"),
        ("redis+sentinel:///main", "no host"),
        ("redis+sentinel://a:1,/main", "no host"),
        ("redis+sentinel://a:1", "name the service"),
        ("redis+sentinel://a:1/main/first", "first"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(url: str, names: str) -> None:
    with pytest.raises(ValueError, match=names) as wrong:
        SentinelAddress.of_url(url)
    assert "redis+sentinel://[user:password@]host:port" in str(wrong.value)
