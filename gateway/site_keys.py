"""Where a site's log has its keys, as its file says: in files, in a token, sealed by a TPM; and their ring."""

from __future__ import annotations

from pathlib import Path

from gateway.config import SiteFile
from gateway.key_holder import FileHolder, KeyHolder, LogKey, MovingHolder
from gateway.keyring import KeyRing
from gateway.keys import KeyFileError
from gateway.site_log import KeyConfig
from gateway.sm2_key import sm2_ring


def log_key(site: SiteFile) -> LogKey:
    """The key that signs the site's log: made on first use, in the data directory."""
    return key_ring(site).current()


def key_ring(site: SiteFile) -> KeyRing:
    """The keys of the site's log."""
    return KeyRing(site.data, site.site.site.origin, key_holder(site))


def second_ring(site: SiteFile) -> KeyRing:
    """The keys of the log's second signature, by SM2."""
    return sm2_ring(site.data, site.site.site.origin)


def key_holder(site: SiteFile) -> KeyHolder:
    """Where the site's log has its keys. Raises KeyFileError."""
    log = site.site.log
    present = _holder(site, log.key)
    if log.next_key is None:
        return present
    both: dict[str, KeyHolder] = {log.key.held: present, log.next_key.held: _holder(site, log.next_key)}
    return MovingHolder(both, log.next_key.held)


def _holder(site: SiteFile, config: KeyConfig) -> KeyHolder:
    if config.held == "tpm":
        from gateway.tpm_key import TpmHolder

        return TpmHolder(config.tcti)
    if config.held == "pkcs11":
        from gateway.pkcs11_key import Pkcs11Holder  # an extra: who keeps the key in a file does without

        pin = site.directory / config.pin_file
        try:
            text = pin.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"{pin}: the token's PIN cannot be read: {error}") from None
        return Pkcs11Holder(Path(config.module), config.token, text)
    return FileHolder()
