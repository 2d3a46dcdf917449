import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.inference_protocol.compression import compressed, decompressed
from faceter.contracts.errors import FaceterError, ProblemKind

LIMIT = 10_000
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "": bytes}


def refused(body: bytes, encoding: str) -> ProblemKind:
    with pytest.raises(FaceterError) as caught:
        decompressed([body], encoding, LIMIT)
    return caught.value.kind


@given(st.binary(max_size=LIMIT), st.sampled_from(["gzip", "deflate", "GZIP", "identity", ""]), st.integers(1, 99))
def test_bodies_are_unpacked_however_they_arrive(body: bytes, encoding: str, size: int) -> None:
    packed = PACK.get(encoding.lower(), bytes)(body)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert b"".join(decompressed(chunks, encoding, LIMIT)) == body


def test_a_body_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = zlib.compress(bytes(10**9 // 8), 9)
    assert refused(bomb, "deflate") is ProblemKind.PAYLOAD_TOO_LARGE
    assert refused(gzip.compress(bytes(LIMIT + 1)), "gzip") is ProblemKind.PAYLOAD_TOO_LARGE


def test_what_is_not_in_the_format_is_refused() -> None:
    assert refused(b"{}", "gzip") is ProblemKind.MALFORMED_BODY
    assert refused(gzip.compress(b"abc")[:-1], "gzip") is ProblemKind.MALFORMED_BODY
    assert refused(gzip.compress(b"abc") + b"more", "gzip") is ProblemKind.MALFORMED_BODY
    assert refused(gzip.compress(b"abc"), "deflate") is ProblemKind.MALFORMED_BODY
    assert refused(b"abc", "br") is ProblemKind.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.1, deflate", "deflate"),
        ("br, GZIP", "gzip"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("identity", ""),
        ("", ""),
    ],
)
def test_responses_are_compressed_as_the_client_prefers(accept: str, encoding: str) -> None:
    body = bytes(5000)
    packed, said = compressed(body, accept)
    assert said == encoding
    assert UNPACK[encoding](packed) == body


def test_what_does_not_become_smaller_stays() -> None:
    noise = b"".join(zlib.crc32(bytes([i % 256, i // 256])).to_bytes(4, "big") for i in range(2000))
    assert compressed(noise, "gzip") == (noise, "")
    assert compressed(b"short", "gzip") == (b"short", "")
