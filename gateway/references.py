"""The entries that others refer to: configuration, calibration states, documents and keys, each written once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from calibration.state import CalibrationState
from evidence import record as records
from evidence.record import Reference
from gateway.configurations import parted
from gateway.counters import Counters
from gateway.pending import Pending


@dataclass(frozen=True, slots=True)
class DocumentNotice:
    """A certificate or other file that the site relies on, by its digest."""

    digest: str
    kind: str
    name: str
    size: int
    media_type: str = ""


class References:
    """Writes each when it is new, and knows where it stands."""

    def __init__(self, configuration: bytes, pending: Pending) -> None:
        """``configuration`` is canonical JSON."""
        self._configuration = parted(configuration)
        self._pending = pending
        self._counters = Counters()

    def begin(self, counters: Counters) -> None:
        """Go on where the log stands."""
        self._counters = counters

    def configure(self) -> None:
        """Write the configuration, its parts first, as far as the log has another one."""
        for name, part in self._configuration.parts.items():
            self._configured(self._counters.parts.get(name), part)
        self._configured(self._counters.configuration, self._configuration.site)

    def _configured(self, known: Reference | None, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if known is None or known.digest != digest:
            salt = self._pending.salt()
            record = records.Configuration(salt=salt, digest=digest, body=msgspec.Raw(body))
            self._counters.take_configuration(self._pending.keep(record), record)

    def configuration_of(self, instrument: str) -> Reference | None:
        """What its readings refer to: its part, or the site's configuration if that says all."""
        counters = self._counters
        if instrument in self._configuration.parts:
            return counters.parts[instrument]
        return counters.configuration

    def state(self, instrument: str, state: CalibrationState) -> Reference:
        """Where the state stands that corrects an instrument from now on."""
        known = self._counters.states.get(instrument)
        if known is None or known.digest != state.digest:
            body = msgspec.Raw(state.to_json())
            record = records.CalibrationState(salt=self._pending.salt(), digest=state.digest, body=body)
            known = Reference(self._pending.keep(record), state.digest)
            self._counters.states[instrument] = known
        return known

    def document(self, document: DocumentNotice, utc_us: int) -> bool:
        """Announce a document; False if it was announced before."""
        if document.digest in self._counters.documents:
            return False
        self._counters.documents.add(document.digest)
        self._pending.keep(
            records.Document(
                salt=self._pending.salt(),
                digest=document.digest,
                kind=document.kind,
                name=document.name,
                media_type=document.media_type,
                size=document.size,
                utc_us=utc_us,
            )
        )
        return True

    def key(self, record: records.Genesis | records.Key) -> None:
        """Write the record that announces keys of this log."""
        self._counters.take_keys(self._pending.keep(record), record)

    def again(self, record: records.Record) -> None:
        """Write a record once more whose commit failed: what refers to it follows."""
        index = self._pending.keep(msgspec.structs.replace(record, salt=self._pending.salt()))
        match record:
            case records.Configuration():
                self._counters.take_configuration(index, record)
            case records.Genesis() | records.Key():
                self._counters.take_keys(index, record)
            case records.CalibrationState(digest=digest):
                for name, reference in self._counters.states.items():
                    if reference.digest == digest:
                        self._counters.states[name] = Reference(index, digest)
            case _:
                pass
