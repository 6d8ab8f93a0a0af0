"""The signature of a digital calibration certificate: XAdES or XML-DSig, against a pinned trust store.

Four verdicts. VALID: the bytes are those that were signed, and the signer's certificate chains to a root that the plant
has pinned, judged at a moment that is stated. UNTRUSTED: the bytes are the signer's, but nobody pinned vouches for him
(or his certificate was not valid then). INVALID: bytes or signature were changed, or the signature does not cover the
whole document. ABSENT: not signed.

The moment is our own receipt (``received``); if the signer's certificate had run out by then, the signing time stated
under the signature (``signing_time``), which is a claim, worth what the signer is worth. Real signers' certificates run
out within a few years, and checking again must not turn old measurements bad: so the outcome is kept with its basis.
Revocation is not looked up (there is no network here), and the outcome says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.verifier import XMLVerifier
from signxml.xades.xades import XAdESSignatureConfiguration, XAdESVerifier

from calibration.certificate import SignatureCheck, SignatureVerdict
from calibration.dcc_reading import NAMESPACES, parse
from calibration.ledger import in_utc

_NAMES = {**NAMESPACES, "xades": "http://uri.etsi.org/01903/v1.3.2#"}
_METHODS = frozenset(
    m for m in SignatureMethod if not any(word in m.name for word in ("SHA1", "HMAC", "DSA_SHA1"))
)
_DIGESTS = frozenset(d for d in DigestAlgorithm if "SHA1" not in d.name)
_BROKEN = (SignXMLException, etree.LxmlError, ValueError, TypeError, AttributeError, KeyError)
"""What signxml meets in a signature that is not well made: all of it means INVALID."""
Element = Any


class _Plain(XMLVerifier):
    """XML-DSig by one certificate whose dates are not looked at: whose bytes are these."""

    signer: Any = None

    def _check_cert_validity(self, cert: Any, cert_source: str) -> None:  # noqa: ARG002 - signxml's signature
        self.signer = cert


class _XAdES(XAdESVerifier):
    """The same with the signed properties of XAdES."""

    signer: Any = None

    def _check_cert_validity(self, cert: Any, cert_source: str) -> None:  # noqa: ARG002 - signxml's signature
        self.signer = cert


def check_signature(
    data: bytes, *, trusted: Sequence[bytes], received: datetime, signing_time_counts: bool = True
) -> SignatureCheck:
    """Check the signature of a DCC file.

    Args:
        data: the file.
        trusted: pinned certificates (PEM): roots, and issuing certificates where the file does not carry them.
        received: when the file came, by our own clock.
        signing_time_counts: whether a certificate that had run out by then is judged at the signing time stated.

    Raises:
        DccRefused: not a DCC at all. ValueError: ``trusted`` holds no readable certificate.
    """
    root = parse(data)
    received = in_utc(received)
    signatures = root.findall("ds:Signature", NAMESPACES)
    if not signatures:
        return SignatureCheck(SignatureVerdict.ABSENT, "the file carries no signature", "received", received)
    if len(signatures) > 1:
        reason = f"{len(signatures)} signatures; only a single one over the whole document is understood"
        return SignatureCheck(SignatureVerdict.INVALID, reason, "received", received)
    certificates = [
        "".join((e.text or "").split())
        for e in signatures[0].iterfind(".//ds:X509Data/ds:X509Certificate", NAMESPACES)
    ]
    if not certificates:
        return SignatureCheck(
            SignatureVerdict.INVALID, "the signature carries no certificate", "received", received
        )
    signer, chain, results, reason = _integrity(root, certificates)
    if signer is None:
        return SignatureCheck(SignatureVerdict.INVALID, reason, "received", received, chain=chain)
    signed_at = _signing_time(results)
    name = _subject(signer)
    if not any(r.signed_xml is not None and r.signed_xml.tag == root.tag for r in results):
        reason = "the signature does not cover the whole document"
        return SignatureCheck(SignatureVerdict.INVALID, reason, "received", received, signed_at, name, chain)
    moments = [("received", received)]
    if signing_time_counts and signed_at is not None and signed_at <= received:
        moments.append(("signing_time", signed_at))
    reasons = []
    with _store(trusted) as store:
        for basis, at in moments:
            problem = "no certificate is pinned" if store is None else _distrust(root, store, at)
            if not problem:
                return SignatureCheck(SignatureVerdict.VALID, "", basis, at, signed_at, name, chain)
            reasons.append(f"{basis} {at.isoformat()}: {problem}")
    return SignatureCheck(
        SignatureVerdict.UNTRUSTED, "; ".join(reasons), "received", received, signed_at, name, chain
    )


def _integrity(root: Element, certificates: Sequence[str]) -> tuple[Any, tuple[str, ...], list[Any], str]:
    """The signer among the certificates carried, the names of all, what was signed; or why it does not hold."""
    chain, reason, found, signed = [], "", None, []
    for certificate in certificates:
        verifier = _verifier(root)
        try:
            results = _run(verifier, root, x509_cert=certificate, config=_config(None))
        except _BROKEN as error:
            # The digest of the document is telling; that another certificate of the chain did not sign is not.
            reason = _said(error) if not reason or "igest" in str(error) else reason
        else:
            if found is None:
                found, signed = verifier.signer, results
        if verifier.signer is not None:
            chain.append(_subject(verifier.signer))
    return found, tuple(dict.fromkeys(chain)), signed, reason


def _distrust(root: Element, store: str, at: datetime) -> str:
    """Why the signer does not chain to the store at a moment; empty if he does."""
    is_xades = root.find("ds:Signature//xades:QualifyingProperties", _NAMES) is not None
    verifier = XAdESVerifier() if is_xades else XMLVerifier()
    try:
        _run(verifier, root, ca_pem_file=store, config=_config(at))
    except _BROKEN as error:
        return _said(error)
    return ""


def _verifier(root: Element) -> Any:
    is_xades = root.find("ds:Signature//xades:QualifyingProperties", _NAMES) is not None
    return _XAdES() if is_xades else _Plain()


def _run(verifier: Any, root: Element, *, config: XAdESSignatureConfiguration, **arguments: Any) -> list[Any]:
    results = verifier.verify(root, expect_config=config, **arguments)
    return list(results) if isinstance(results, list) else [results]


def _config(at: datetime | None) -> XAdESSignatureConfiguration:
    return XAdESSignatureConfiguration(
        location="./",
        expect_references=True,  # not an integer: any number of references
        signature_methods=_METHODS,
        digest_algorithms=_DIGESTS,
        verification_time=at,
    )


def _signing_time(results: Sequence[Any]) -> datetime | None:
    """The signing time, from what was signed and nothing else."""
    for result in results:
        if result.signed_xml is None:
            continue
        for element in result.signed_xml.iter(f"{{{_NAMES['xades']}}}SigningTime"):
            try:
                moment = datetime.fromisoformat((element.text or "").strip())
            except ValueError:
                return None
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return None


@contextmanager
def _store(trusted: Sequence[bytes]) -> Iterator[str | None]:
    """The pinned certificates as the file that signxml wants; None if there are none."""
    if not trusted:
        yield None
        return
    for certificate in trusted:
        if b"-----BEGIN CERTIFICATE-----" not in certificate:
            raise ValueError("a pinned certificate is not PEM text with -----BEGIN CERTIFICATE-----")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trusted.pem"
        path.write_bytes(b"\n".join(trusted) + b"\n")
        yield str(path)


def _subject(certificate: Any) -> str:
    return str(certificate.subject.rfc4514_string())


def _said(error: Exception) -> str:
    kind = type(error).__name__
    text = str(error).strip().partition(". Use SignatureConfiguration")[0]  # advice to programmers
    return f"{kind}: {text}" if text and not isinstance(error, InvalidInput) else text or kind
