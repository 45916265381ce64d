"""TLS to a real broker: verified unless the URL says otherwise, and which check failed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import BrokerSettings, Endpoint
from celerytop.sources.rabbitmq.connection import connect
from tests.rig import RabbitServer
from tests.rig.process import accepts, free_port, wait_until
from tests.sources.rabbitmq.open_lanes import settings_for

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for ``localhost`` alone; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    return folder / "cert.pem"


@pytest.fixture
def tls_server(certificate: Path, rabbitmq_server: RabbitServer) -> Iterator[tuple[RabbitServer, int]]:
    """The session's node, listening by TLS too; a node of its own would take ten seconds more."""
    port = free_port()
    files = f'{{certfile, "{certificate}"}}, {{keyfile, "{certificate.with_name("key.pem")}"}}'
    options = f"[{files}, {{verify, verify_none}}]"
    start = f'rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}}}, {options}, 2).'
    rabbitmq_server.ctl("eval", f"application:ensure_all_started(ssl), {start}")
    wait_until(lambda: accepts(port), 60)
    yield rabbitmq_server, port
    rabbitmq_server.ctl("eval", f'rabbit_networking:stop_tcp_listener({{"127.0.0.1", {port}}}).')


def by_tls(server: RabbitServer, port: int, host: str, **options: str) -> BrokerSettings:
    settings = settings_for(server)
    told = tuple((f"ssl_{name}", value) for name, value in options.items())
    address = msgspec.structs.replace(settings.address, endpoints=(Endpoint(host, port),), tls=True, tls_options=told)
    return msgspec.structs.replace(settings, address=address)


@pytest.mark.slow
def test_each_check_that_fails_is_named(tls_server: tuple[RabbitServer, int], certificate: Path) -> None:
    server, port = tls_server
    known = str(certificate)
    for host, options in (
        ("localhost", {"ca_certs": known}),
        ("localhost", {"ca_certs": known, "cert_reqs": "CERT_REQUIRED"}),
        ("127.0.0.1", {"ca_certs": known, "check_hostname": "false"}),
        ("127.0.0.1", {"cert_reqs": "none"}),
    ):
        link = connect(by_tls(server, port, host, **options))
        assert link.version
        link.close()
    for host, options, words in (
        ("localhost", {}, "not trusted .* ssl_ca_certs"),
        ("127.0.0.1", {"ca_certs": known}, "for another name .* ssl_check_hostname=false"),
    ):
        with pytest.raises(RefusedError, match=words):
            connect(by_tls(server, port, host, **options))
    plain = by_tls(server, port, "localhost")
    plain = msgspec.structs.replace(plain, address=msgspec.structs.replace(plain.address, tls=False))
    with pytest.raises(BrokerError, match="amqps://"):
        connect(plain)
