"""The API over TLS: with a certificate of one's own, which the client verifies."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import TOKEN, Served
from builders import TableCosts
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.api_server import Tls
from jetsched.cluster.client import Client
from jetsched.errors import InputError, UnreachableError


def make_certificate(folder: Path, name: str, address: str) -> Tls:
    """A certificate that vouches for itself, for one address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Tls(folder / "cert.pem", folder / "key.pem")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    tls = make_certificate(tmp_path / "tls", "head", "127.0.0.1")
    agents = LocalAgents(tmp_path / "nodes", {})
    with (
        LiveWorld(tmp_path, TableCosts({}), agents=agents) as world,
        Served(world, tls=tls) as served,
    ):
        yield served


def test_a_client_with_the_authority_talks_to_the_head(served: Served, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{served.port}"
    with Client(url, TOKEN, ca=tmp_path / "tls/cert.pem") as client:
        assert client.jobs() == []
        assert next(client.follow()).name == "hello"


def test_a_client_without_it_or_with_another_refuses_and_says_which_file_it_wants(
    served: Served, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{served.port}"
    other = make_certificate(tmp_path / "other", "other", "127.0.0.1")
    for ca in (None, other.cert):
        with Client(url, TOKEN, ca=ca) as client, pytest.raises(InputError) as caught:
            client.jobs()
        assert "not trusted" in str(caught.value)
        assert "JETSCHED_CA_FILE" in caught.value.hint


def test_a_certificate_for_another_address_is_not_trusted(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path / "tls", "head", "10.9.9.9")
    agents = LocalAgents(tmp_path / "nodes", {})
    with (
        LiveWorld(tmp_path, TableCosts({}), agents=agents) as world,
        Served(world, tls=tls) as served,
        Client(f"https://127.0.0.1:{served.port}", TOKEN, ca=tls.cert) as client,
        pytest.raises(InputError, match="not trusted"),
    ):
        client.jobs()


def test_plain_http_is_not_answered_where_there_is_tls(served: Served) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        served.client.status()


def test_files_that_are_no_certificate_are_refused_before_anything_starts(tmp_path: Path) -> None:
    good = make_certificate(tmp_path / "good", "head", "127.0.0.1")
    other = make_certificate(tmp_path / "other", "head", "127.0.0.1")
    good.check()
    (tmp_path / "text").write_text("hello")
    for bad in (
        Tls(tmp_path / "none", good.key),
        Tls(tmp_path / "text", good.key),
        Tls(good.cert, other.key),
        Tls(good.cert, good.cert),
    ):
        with pytest.raises(InputError):
            bad.check()
    with pytest.raises(InputError, match="no certificates"):
        Client("https://127.0.0.1:1", TOKEN, ca=tmp_path / "text")
