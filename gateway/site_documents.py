"""The certificate files and the register that a site file names: where they are, and whether they changed."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from gateway.config import SiteFile
from gateway.references import DocumentNotice


def certificate_paths(site: SiteFile) -> list[Path]:
    """The certificate files and the register, as they are now."""
    found: list[Path] = []
    for pattern in site.site.calibration.certificates:
        root = Path(site.directory.anchor) if Path(pattern).is_absolute() else site.directory
        found += sorted(
            root.glob(str(Path(pattern).relative_to(root)) if Path(pattern).is_absolute() else pattern)
        )
    register = site.site.calibration.register_file
    return found + ([site.directory / register] if register else [])


def documents(site: SiteFile) -> tuple[DocumentNotice, ...]:
    """The certificate files, as the log is told of them."""
    register = site.site.calibration.register_file
    skip = site.directory / register if register else None
    papers = [(path.name, path.read_bytes()) for path in certificate_paths(site) if path != skip]
    return tuple(
        DocumentNotice(sha256(data).hexdigest(), "certificates", name, len(data)) for name, data in papers
    )


def fingerprint(site: SiteFile) -> tuple[tuple[str, int, int], ...]:
    """Another one where a file came, went or was written: name, time and size of each."""
    found = []
    for path in certificate_paths(site):
        try:
            state = path.stat()
        except OSError:  # it is just being replaced: the next look sees it
            continue
        found.append((str(path), state.st_mtime_ns, state.st_size))
    return tuple(found)
