"""Certificates of an authority of our own, and a port that speaks TLS in front of a Unix socket."""

import asyncio
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """A certificate authority, a certificate of `localhost` by it, and one of a stranger.

    Args:
        folder: Where the files are written; created.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority, self.stranger = folder / "authority.pem", folder / "stranger.pem"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        _write_certificate(self.stranger, _Identity("stranger"))
        authority = _Identity("authority")
        _write_certificate(self.authority, authority)
        server = _Identity("localhost")
        _write_certificate(self.certificate, server, by=authority)
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.write_bytes(server.key.private_bytes(*pem))


class TlsPort:
    """Forwards connections by TLS to a Unix socket during a ``with`` block, whose value is its port."""

    def __init__(self, certificates: Certificates, target: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> int:
        self._thread.start()
        starting = asyncio.start_server(self._forward, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def __exit__(self, *exc_info: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_store, to_store = await asyncio.open_unix_connection(self._target)
        try:
            await asyncio.gather(_copy(reader, to_store), _copy(from_store, writer))
        finally:
            writer.transport.abort()
            to_store.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class _Identity:
    def __init__(self, name: str) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.host = x509.SubjectAlternativeName([x509.DNSName(name)])
        self.key = ec.generate_private_key(ec.SECP256R1())


def _write_certificate(path: Path, subject: _Identity, by: _Identity | None = None) -> None:
    now, issuer = datetime.now(UTC), by or subject
    builder = (
        x509.CertificateBuilder(issuer.name, subject.name, subject.key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(subject.host, critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    path.write_bytes(builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
