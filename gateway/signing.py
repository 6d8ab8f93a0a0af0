"""Who signs the checkpoints: the log's key, both keys while it is changed, and a second line by a key of another kind.

A key that comes is recorded before it counts, vouched for by the one before it. The second line may be missing: a
device that does not answer costs that line, not the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from evidence.note import Checkpoint, Signer, SignerUnavailable, key_statement
from evidence.record import Key, decode
from gateway.clock import Clock
from gateway.open_log import OpenLog
from gateway.pipeline import Pipeline
from gateway.receipts import PlatformKey


class Signing:
    """The keys of one log at work."""

    def __init__(
        self,
        origin: str,
        signer: Signer,
        second: Signer | None,
        log: OpenLog,
        pipeline: Pipeline,
        platforms: Sequence[PlatformKey],
        clock: Clock,
    ) -> None:
        """``platforms``: who must have confirmed a new key's record before the old one may go."""
        self._origin = origin
        self._log, self._pipeline, self._clock = log, pipeline, clock
        self._platforms = tuple(platforms)
        self._signers: tuple[Signer, ...] = (signer,)  # oldest first; two while the key is changed
        self._seconds: tuple[Signer, ...] = () if second is None else (second,)
        self.second_failed = ""  # why the last checkpoint has no second signature

    @property
    def begun(self) -> bool:
        """Whether the log is open and taken up."""
        return self._log.begun

    def sign(self, size: int, root: bytes) -> bytes:
        """The checkpoint as a signed note. Raises SignerUnavailable if the log's key cannot sign."""
        note = Checkpoint(self._origin, size, root).signed_by(*self._signers)
        missing, count = "", len(note.signatures)
        for second in self._seconds:
            try:
                note = note.signed_by(second)
            except SignerUnavailable as error:
                missing = str(error)
        self.second_failed = missing if len(note.signatures) == count else ""
        return note.encode()

    def statements(self) -> tuple[str, ...]:
        """What the log says of its changes of keys, oldest first, as far as it is still here."""
        found = []
        for place in sorted(self._pipeline.keys.values(), key=lambda place: place.entry):
            for _, entry in self._log.store.entries(place.entry, place.entry + 1):
                if isinstance(record := decode(entry), Key):
                    found.append(record.statement)
        return tuple(found)

    def key_is_known(self, vkey: str, overlap_us: int) -> bool:
        """Whether a receipt of every platform covers the key's record, and it is ``overlap_us`` old."""
        place = self._pipeline.keys.get(vkey)
        if place is None or place.entry >= self._log.size:
            return False
        have = self._log.receipts.sizes
        seen = all(have.get(platform.name, 0) > place.entry for platform in self._platforms)
        return seen and self._clock.now().utc_us >= place.utc_us + overlap_us

    def take_key(self, new: Signer) -> None:
        """Change the log's key: record the new one, unless it was, vouched for by the old; sign with both."""
        old = self._signers[0]
        vkey, replaces = new.verifier.vkey, old.verifier.vkey
        if vkey not in self._pipeline.keys:
            self._pipeline.announce_key(vkey, replaces, key_statement(self._origin, new, old))
        self._signers = (old, new)

    def sign_alone(self) -> None:
        """Sign with the newest key alone: the old one is no longer here."""
        old, self._signers = self._signers[0], self._signers[-1:]
        self._pipeline.event("key_retired", {"vkey": old.verifier.vkey})

    def take_second_key(self, new: Signer) -> None:
        """Sign with this key on the second line too, recorded unless it was; the log's other key vouches for it."""
        older = [signer for signer in self._seconds if signer.verifier != new.verifier]
        vkey = new.verifier.vkey
        if vkey not in self._pipeline.keys:
            replaces = older[0].verifier.vkey if older else ""
            statement = key_statement(self._origin, new, *older, *self._signers)
            self._pipeline.announce_key(vkey, replaces, statement)
        self._seconds = (*older, new)

    def second_signs_alone(self) -> None:
        """Sign the second line with its newest key alone: the old one is no longer here."""
        old, self._seconds = self._seconds[0], self._seconds[-1:]
        self._pipeline.event("key_retired", {"vkey": old.verifier.vkey})
