"""Whose receipts count at a site: the keys of the site file, and those that came with the enrolment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evidence.note import Verifier
from gateway.config import SiteFile
from gateway.enrolment import Enrolment
from gateway.receipts import PlatformKey
from gateway.site_log import Platform
from gateway.tls import TlsFiles


def enrolment_of(site: SiteFile) -> Enrolment:
    """The site's enrolment, as it stands in its data directory."""
    return Enrolment(site.data, site.site.site.origin)


def key_of(site: SiteFile, platform: Platform) -> Verifier | None:
    """A platform's key; None if it is to come with an enrolment that is not done. Raises ValueError, EvidenceError."""
    return Verifier.parse(platform.key) if platform.key else enrolment_of(site).platform_key(platform.name)


def platform_keys(site: SiteFile) -> tuple[PlatformKey, ...]:
    """The keys of all platforms that are known. Raises ValueError, EvidenceError."""
    known = ((platform, key_of(site, platform)) for platform in site.site.platforms)
    return tuple(PlatformKey.parse(p.name, key.vkey) for p, key in known if key is not None)


def client_files(site: SiteFile, platform: Platform) -> TlsFiles:
    """What proves us to a platform, and whom we believe there: its own files, where it has none the enrolment's."""

    def path(name: str | None) -> Path | None:
        return None if name is None else site.directory / name

    own = TlsFiles(path(platform.certificate), path(platform.private_key), path(platform.ca))
    if site.site.enrolment is None or own.certificate is not None or not enrolment_of(site).done:
        return own
    ours = enrolment_of(site).files
    return ours if own.ca is None else replace(ours, ca=own.ca)


def server_files(site: SiteFile) -> TlsFiles | None:
    """With what the log is served over HTTPS; None: over plain HTTP."""
    serve = site.site.serve
    if serve.enrolled:
        return enrolment_of(site).files
    if serve.certificate is None or serve.private_key is None:
        return None
    clients = None if serve.clients is None else site.directory / serve.clients
    return TlsFiles(site.directory / serve.certificate, site.directory / serve.private_key, clients)
