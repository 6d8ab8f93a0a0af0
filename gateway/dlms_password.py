"""The password with which a DLMS meter is read (LLS), out of a file of its own. It is written nowhere else."""

from __future__ import annotations

from dataclasses import replace

from drivers.dlms_reading import Dlms
from drivers.protocols import Codec
from gateway.config import SiteFile
from gateway.site_lines import InstrumentConfig
from gateway.toml_source import Problem

_LONGEST = 48  # bytes: an AARQ with more would not fit the frames that every meter takes


class PasswordError(ValueError):
    """A password file that cannot be used, and why."""


def password_of(site: SiteFile, config: InstrumentConfig) -> bytes:
    """The password; PasswordError if the file cannot be read or holds none."""
    try:
        raw = (site.directory / config.password_file).read_bytes()
    except OSError as error:
        raise PasswordError(error.strerror or str(error)) from None
    found = raw.strip(b"\r\n")
    if not found or len(found) > _LONGEST:
        raise PasswordError("the file is empty" if not found else f"more than {_LONGEST} bytes")
    return found


def with_password(
    site: SiteFile,
    place: tuple[str | int, ...],
    config: InstrumentConfig,
    protocol: Codec,
    problems: list[Problem],
    warnings: list[Problem],
) -> Codec:
    """The meter's codec with its password; a warning says that LLS hides it from nobody on the line."""
    if not isinstance(protocol, Dlms):
        return protocol
    try:
        secret = password_of(site, config)
    except PasswordError as error:
        hint = "one line: the password, readable by the service alone (chmod 600)"
        problems.append(site.source.problem(place, str(error), hint, "C149"))
        return protocol
    message = "low-level security (LLS): the password crosses the line readable, and nothing is ciphered"
    hint = "leave password_file out if the meter serves the public client (16) without one"
    warnings.append(site.source.problem(place, message, hint, "C149"))
    return replace(protocol, password=secret)
