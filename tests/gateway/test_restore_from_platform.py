"""`suyuan restore` from the address of a platform, which lets in only whom it knows by a certificate."""

import ssl
from contextlib import closing

import pytest

from gateway.cli import main
from gateway.keys import create, load
from gateway.store import LogStore
from tests.central.serving import serving
from tests.evidence.logs import Writer, files
from tests.rigs.authority import issue

ORIGIN = "platform.example/gw/0001"
SITE = f"""
[site]
name = "Potline 3"
origin = "{ORIGIN}"

[[bus]]
name = "line"
protocol = "modbus-tcp"
port = "tcp://127.0.0.1:1"

[[bus.instrument]]
id = "M1"
address = "1"
profile = "schneider-iem3000"
"""


@pytest.fixture
def site(tmp_path):
    """A box with its key, and nothing of its log."""
    (tmp_path / "site.toml").write_text(SITE)
    create(tmp_path / "data" / "log.key", ORIGIN)
    return tmp_path / "site.toml"


@pytest.fixture
def pki(tmp_path):
    return issue(tmp_path)


@pytest.fixture
def platform(site, pki):
    """The platform's copy behind mutual TLS."""
    ca, (certificate, key), _, _ = pki
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    log = Writer(ORIGIN).grow(200)
    with serving(
        files(log.entries, ORIGIN, load(site.parent / "data" / "log.key").signer), context
    ) as served:
        yield served.url


def restored(site):
    with closing(LogStore(site.parent / "data", ORIGIN, ballast=0)) as store:
        return store.size


def test_an_enrolled_gateway_shows_the_certificate_of_its_enrolment(site, pki, platform):
    ca, _, (certificate, key), _ = pki
    enrolment = site.parent / "data" / "enrolment"
    enrolment.mkdir()
    (enrolment / "identity.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    (enrolment / "platform-ca.pem").write_bytes(ca.read_bytes())
    assert main(["restore", str(site), "--from", platform]) == 0
    assert restored(site) == 200


def test_another_gateway_names_its_certificate(site, pki, platform):
    ca, _, (certificate, key), _ = pki
    shown = ["--ca", str(ca), "--certificate", str(certificate), "--private-key", str(key)]
    assert main(["restore", str(site), "--from", platform, *shown]) == 0
    assert restored(site) == 200


def test_without_one_it_is_told_what_is_asked_for(site, pki, platform, capsys):
    assert main(["restore", str(site), "--from", platform, "--ca", str(pki[0])]) == 2
    assert "does it ask for a client certificate" in capsys.readouterr().err
