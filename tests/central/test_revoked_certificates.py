"""A gateway that is suspended or removed: its certificates count no more, for OpenSSL, our door and a broker."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from central.authority import Authority, Wanted
from central.enrolment import Enrolments
from central.registry import Registered, Registry
from central.revoked_certificates import ISSUED, LedgerError, Why
from evidence.note import Ed25519Signer
from gateway.cli import main
from gateway.clock import moment
from gateway.enrolment import request_names
from gateway.tls import ServerTls, TlsError, TlsFiles
from sim.ports import free_port

NOW = moment().replace(microsecond=0)  # OpenSSL and the broker judge by the true time
ORIGIN, OTHER = "platform.example/gw/1", "platform.example/gw/2"
DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "platform"


def requested(origin: str) -> tuple[ec.EllipticCurvePrivateKey, Wanted]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(request_names(("gw.example",))), False)
    return key, Wanted.parse(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


class Platform:
    """A platform's directory with two gateways that have certificates."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority.create(directory / "ca", "Smelter", NOW)
        self.registry = Registry(directory / "gateways")
        self.enrolments = Enrolments(directory, self.registry, lambda: NOW, authority=self.authority)
        self.known = {}
        for origin in (ORIGIN, OTHER):
            self.known[origin] = Registered(Ed25519Signer.generate(origin).verifier)
            self.registry.put(self.known[origin])
        made, key = self.authority.for_platform("door", ["127.0.0.1"], NOW, 30)
        (directory / "server.pem").write_bytes(made.encode() + key)
        self.ca, self.crl = directory / "ca/gateways-ca.pem", directory / "ca/gateways-ca.crl"

    def issued(self, origin: str, name: str, days: float = 30) -> Path:
        key, wanted = requested(origin)
        path = self.directory / f"{name}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(self.authority.for_gateway(origin, wanted, NOW, days).encode() + private)
        return path

    def listed(self) -> set[int]:
        found = x509.load_pem_x509_crl(self.crl.read_bytes())
        assert found.is_signature_valid(x509.load_pem_x509_certificate(self.ca.read_bytes()).public_key())
        return {one.serial_number for one in found}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def openssl_says(platform: Platform, certificate: Path) -> str:
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", "-CAfile", platform.ca, "-CRLfile", platform.crl, certificate],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return f"{done.returncode} {done.stdout}{done.stderr}"


def test_all_certificates_of_a_suspended_gateway_are_on_the_list_until_it_is_approved_again(platform):
    old, new, other = (
        platform.issued(ORIGIN, "old"), platform.issued(ORIGIN, "new"), platform.issued(OTHER, "other")
    )  # fmt: skip
    assert platform.listed() == set()
    platform.enrolments.suspend(platform.known[ORIGIN])
    assert platform.listed() == {serial(old), serial(new)}
    assert "certificate revoked" in openssl_says(platform, old)
    assert openssl_says(platform, other).startswith("0 ")
    platform.enrolments.reinstate(platform.known[ORIGIN])
    assert platform.listed() == set()
    assert openssl_says(platform, old).startswith("0 ")


def test_who_was_removed_stays_on_the_list_when_the_name_is_enrolled_again(platform):
    stolen = platform.issued(ORIGIN, "stolen")
    assert platform.enrolments.forget(ORIGIN)
    platform.registry.put(platform.known[ORIGIN])
    platform.enrolments.reinstate(platform.known[ORIGIN])
    fresh = platform.issued(ORIGIN, "fresh")
    platform.enrolments.suspend(platform.known[ORIGIN])
    platform.enrolments.reinstate(platform.known[ORIGIN])
    assert platform.listed() == {serial(stolen)}
    assert openssl_says(platform, fresh).startswith("0 ")


def test_a_certificate_that_is_over_leaves_the_list_and_the_numbers_of_lists_rise(platform):
    platform.issued(ORIGIN, "short", days=1)
    lasting = platform.issued(ORIGIN, "lasting", days=30)

    def number() -> int:
        crl = x509.load_pem_x509_crl(platform.crl.read_bytes())
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    before = number()
    platform.authority.certificates.revoke(ORIGIN, Why.HOLD, NOW + timedelta(days=2))
    assert platform.listed() == {serial(lasting)}
    assert number() > before


def test_the_command_makes_the_list_after_a_file_of_gateways_that_was_edited_by_hand(platform, capsys):
    mine, other = platform.issued(ORIGIN, "mine"), platform.issued(OTHER, "other")
    platform.registry.path.write_text(f"suspended {platform.known[ORIGIN].verifier.vkey}\n")
    assert main(["platform", "ca", "crl", "--store", str(platform.directory)]) == 0
    assert "2 certificates of gateways count no more" in capsys.readouterr().err
    assert platform.listed() == {serial(mine), serial(other)}
    both = "".join(f"{one.verifier.vkey}\n" for one in platform.known.values())
    platform.registry.path.write_text(both)
    assert main(["platform", "ca", "crl", "--store", str(platform.directory)]) == 0
    assert platform.listed() == {serial(other)}  # it was struck: that is for good


def test_a_damaged_list_of_what_was_issued_is_told_and_nothing_is_written(platform, capsys):
    platform.issued(ORIGIN, "mine")
    path = platform.directory / "ca" / ISSUED
    path.write_text(path.read_text() + "nonsense\n")
    before = platform.crl.read_bytes()
    with pytest.raises(LedgerError, match=":2: is no issued certificate"):
        platform.enrolments.suspend(platform.known[ORIGIN])
    assert main(["gateways", "remove", ORIGIN, "--store", str(platform.directory)]) == 2
    assert ":2: is no issued certificate" in capsys.readouterr().err
    assert platform.crl.read_bytes() == before


async def _admitted(port: int, platform: Platform, certificate: Path) -> bool:
    """Whether a server that asks for a certificate talks to who shows this one."""
    context = ssl.create_default_context(cafile=platform.directory / "ca/platform-ca.pem")
    context.load_cert_chain(certificate)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(
            b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
        )  # a CONNECT; the other server says anything
        heard = await asyncio.wait_for(reader.read(4), 20)
        writer.close()
    except (ssl.SSLError, ConnectionError):
        return False
    return heard != b""


async def test_our_door_takes_up_the_list_with_the_next_connection(platform):
    mine, other = platform.issued(ORIGIN, "mine"), platform.issued(OTHER, "other")
    tls = ServerTls(TlsFiles(platform.directory / "server.pem", None, platform.ca, platform.crl))

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"door")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await _admitted(port, platform, mine)
        platform.enrolments.suspend(platform.known[ORIGIN])
        assert not await _admitted(port, platform, mine)
        assert await _admitted(port, platform, other)
        platform.enrolments.reinstate(platform.known[ORIGIN])
        assert await _admitted(port, platform, mine)


def test_a_list_that_is_none_lets_nobody_in_by_mistake(platform):
    with pytest.raises(TlsError, match="holds no list of revoked certificates"):
        ServerTls(TlsFiles(platform.directory / "server.pem", None, platform.ca, platform.ca))


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="Debian package mosquitto")
async def test_the_shipped_broker_lets_in_who_is_not_on_the_list(platform, tmp_path):
    mine, other = platform.issued(ORIGIN, "mine"), platform.issued(OTHER, "other")
    platform.enrolments.suspend(platform.known[ORIGIN])
    port, inside = free_port(), free_port()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, source in (
        ("broker-clients", platform.ca), ("broker-certificate", platform.directory / "server.pem"),
        ("broker-key", platform.directory / "server.pem"), ("broker-revoked", platform.crl),
    ):  # fmt: skip
        (secrets / name).write_bytes(source.read_bytes())
    (secrets / "broker-passwords").write_text("")
    text = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    for old, new in {
        "/run/secrets": str(secrets), "/mosquitto/config": str(DEPLOY), "/mosquitto/data": str(tmp_path),
        "listener 8883": f"listener {port} 127.0.0.1", "listener 1883": f"listener {inside} 127.0.0.1",
    }.items():  # fmt: skip
        text = text.replace(old, new)
    (tmp_path / "mosquitto.conf").write_text(f"user root\n{text}", encoding="utf-8")

    async def admitted(certificate: Path) -> bool:
        broker = await asyncio.create_subprocess_exec(
            "mosquitto", "-c", str(tmp_path / "mosquitto.conf"), stderr=asyncio.subprocess.PIPE
        )
        try:
            assert broker.stderr is not None
            while b"running" not in (line := await asyncio.wait_for(broker.stderr.readline(), 30)):
                assert line, "the broker has ended"
            return await _admitted(port, platform, certificate)
        finally:
            broker.terminate()
            await broker.communicate()

    assert not await admitted(mine)
    assert await admitted(other)
