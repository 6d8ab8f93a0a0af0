"""Signatures: good, tampered with, by a stranger, run out; each verdict with the moment it was judged at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import DigestAlgorithm, SignatureMethod, XMLSigner
from signxml.xades import XAdESSigner

from calibration.certificate import Certificate, CertificateKind, Instrument, SignatureVerdict
from calibration.dcc_export import Issuer, export_dcc
from calibration.dcc_signature import check_signature
from calibration.refusals import DccRefused

NOW = datetime.now(UTC)  # noqa: TID251 - signxml stamps the signing time by the wall clock
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A root and a signer under it, valid for some days about now."""

    root: Any
    signer: Any
    key: Any

    @property
    def pem(self) -> bytes:
        return bytes(self.root.public_bytes(serialization.Encoding.PEM))


def name(words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def usage(sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def authority(begin: datetime = NOW - DAY, end: datetime = NOW + DAY) -> Authority:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    root = (
        builder.subject_name(name("Test root"))
        .issuer_name(name("Test root"))
        .public_key(root_key.public_key())
        .not_valid_before(NOW - 1000 * DAY)
        .not_valid_after(NOW + 1000 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(sign=True), critical=True)
        .add_extension(root_id, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    signer = (
        builder.subject_name(name("Test laboratory"))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(usage(sign=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    return Authority(root, signer, key)


def unsigned() -> bytes:
    certificate = Certificate(
        "JD-1", CertificateKind.VERIFICATION, "M1", "Test laboratory", date(2026, 3, 2), passed=True,
        accuracy_class="0.5S", valid_until=date(2032, 3, 1),
    )  # fmt: skip
    return export_dcc(certificate, Instrument("M1", serial="123"), Issuer("0.1.0"))


def signed(by: Authority, *, plain: bool = False) -> bytes:
    kind = XMLSigner if plain else XAdESSigner
    signer = kind(signature_algorithm=SignatureMethod.ECDSA_SHA256, digest_algorithm=DigestAlgorithm.SHA256)
    made = signer.sign(etree.fromstring(unsigned()), key=by.key, cert=[by.signer])
    return bytes(etree.tostring(made))


@pytest.fixture(scope="module")
def lab() -> Authority:
    return authority()


@pytest.mark.parametrize("plain", [False, True], ids=["xades", "xml-dsig"])
def test_a_good_signature_under_a_pinned_root_is_valid(lab: Authority, plain: bool) -> None:
    check = check_signature(signed(lab, plain=plain), trusted=[lab.pem], received=NOW)
    assert (check.verdict, check.basis, check.at, check.reason) == (
        SignatureVerdict.VALID,
        "received",
        NOW,
        "",
    )
    assert check.signer == "CN=Test laboratory"
    assert check.chain == ("CN=Test laboratory",)
    assert check.revocation == "not checked"
    assert (check.signed_at is None) == plain


def test_nobody_pinned_or_somebody_else_pinned_is_untrusted(lab: Authority) -> None:
    for trusted in ([], [authority().pem]):
        check = check_signature(signed(lab), trusted=trusted, received=NOW)
        assert check.verdict is SignatureVerdict.UNTRUSTED
        assert check.signer == "CN=Test laboratory"
        assert check.reason


def test_no_signature_is_absent(lab: Authority) -> None:
    assert check_signature(unsigned(), trusted=[lab.pem], received=NOW).verdict is SignatureVerdict.ABSENT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0.5S", b"0.2S"),
        (b"2032-03-01", b"2036-03-01"),
        (b">pass<", b">fail<"),
        (b"Test laboratory</", b"Best laboratory</"),
    ],
)
def test_a_changed_document_is_invalid(lab: Authority, old: bytes, new: bytes) -> None:
    data = signed(lab)
    assert old in data
    check = check_signature(data.replace(old, new, 1), trusted=[lab.pem], received=NOW)
    assert check.verdict is SignatureVerdict.INVALID
    assert "igest" in check.reason


def test_an_added_element_is_invalid(lab: Authority) -> None:
    root = etree.fromstring(signed(lab))
    etree.SubElement(root, "{https://ptb.de/dcc}comment")
    check = check_signature(etree.tostring(root), trusted=[lab.pem], received=NOW)
    assert check.verdict is SignatureVerdict.INVALID


def test_a_changed_signature_value_is_invalid(lab: Authority) -> None:
    root = etree.fromstring(signed(lab))
    value = root.find(".//{http://www.w3.org/2000/09/xmldsig#}SignatureValue")
    value.text = "A" * 20 + value.text[20:]
    check = check_signature(etree.tostring(root), trusted=[lab.pem], received=NOW)
    assert check.verdict is SignatureVerdict.INVALID


def test_another_signer_put_in_is_invalid(lab: Authority) -> None:
    stranger = authority()
    root = etree.fromstring(signed(lab))
    held = root.find(".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate")
    pem = stranger.signer.public_bytes(serialization.Encoding.PEM).decode()
    held.text = "".join(pem.splitlines()[1:-1])
    check = check_signature(etree.tostring(root), trusted=[stranger.pem], received=NOW)
    assert check.verdict is SignatureVerdict.INVALID


def test_a_signature_moved_onto_other_content_is_invalid(lab: Authority) -> None:
    """Wrapping: the signed document hidden inside, other content in its place."""
    genuine, other = etree.fromstring(signed(lab)), etree.fromstring(unsigned().replace(b"0.5S", b"0.2S"))
    namespace = "{http://www.w3.org/2000/09/xmldsig#}Signature"
    other.append(genuine.find(namespace))
    comment = etree.SubElement(other, "{https://ptb.de/dcc}comment")
    comment.append(etree.fromstring(unsigned()))
    check = check_signature(etree.tostring(other), trusted=[lab.pem], received=NOW)
    assert check.verdict is SignatureVerdict.INVALID


def test_a_signature_of_a_part_only_is_invalid(lab: Authority) -> None:
    root = etree.fromstring(unsigned())
    part = root.find("{https://ptb.de/dcc}measurementResults")
    part.set("Id", "part")
    signer = XMLSigner(
        signature_algorithm=SignatureMethod.ECDSA_SHA256, digest_algorithm=DigestAlgorithm.SHA256
    )
    made = signer.sign(root, key=lab.key, cert=[lab.signer], reference_uri="#part")
    check = check_signature(etree.tostring(made), trusted=[lab.pem], received=NOW)
    assert check.verdict is SignatureVerdict.INVALID
    assert "whole document" in check.reason


def test_two_signatures_are_not_guessed_at(lab: Authority) -> None:
    root = etree.fromstring(signed(lab))
    root.append(etree.fromstring(etree.tostring(root[-1])))
    assert (
        check_signature(etree.tostring(root), trusted=[lab.pem], received=NOW).verdict
        is SignatureVerdict.INVALID
    )


def test_a_signer_run_out_since_counts_by_the_signing_time_and_says_so(lab: Authority) -> None:
    later = NOW + 400 * DAY
    check = check_signature(signed(lab), trusted=[lab.pem], received=later)
    assert (check.verdict, check.basis, check.at) == (SignatureVerdict.VALID, "signing_time", check.signed_at)
    strict = check_signature(signed(lab), trusted=[lab.pem], received=later, signing_time_counts=False)
    assert strict.verdict is SignatureVerdict.UNTRUSTED
    assert "expired" in strict.reason


def test_a_signing_time_outside_the_signers_validity_is_untrusted() -> None:
    past = authority(NOW - 500 * DAY, NOW - 400 * DAY)
    check = check_signature(signed(past), trusted=[past.pem], received=NOW + DAY)
    assert check.verdict is SignatureVerdict.UNTRUSTED
    assert check.reason.count("expired") == 2


def test_a_trust_store_that_is_none_is_the_callers_mistake(lab: Authority) -> None:
    with pytest.raises(ValueError, match="not PEM"):
        check_signature(signed(lab), trusted=[b"garbage"], received=NOW)
    with pytest.raises(DccRefused):
        check_signature(b"<x/>", trusted=[], received=NOW)
