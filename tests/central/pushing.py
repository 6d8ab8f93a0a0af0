"""A gateway's log store with true entries, and the platform as a mirror of it."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from central.intake import Intake
from central.store import Store
from evidence import log, note
from gateway.mirroring import subtree_proof, upload_head
from gateway.store import LogStore
from tests.evidence.logs import START_US, Writer, signer

PLATFORM = signer("platform.example", 2)


def grow(store: LogStore, writer: Writer, to: int) -> None:
    """Write the writer's log on, in commits of some hundred entries, and publish a checkpoint at its end."""
    writer.grow(to)
    while store.size < writer.size:
        part = writer.entries[store.size : store.size + 200]
        last = store.size + len(part) == writer.size

        def sign(size: int, root: bytes) -> bytes:
            return note.Checkpoint(writer.origin, size, root).signed_by(writer.signer).encode()

        store.commit(part, sign if last else None)


def intake(store: Store, *writers: Writer, report=lambda *_: None) -> Intake:
    keys = {writer.origin: writer.signer.verifier for writer in writers}
    return Intake(store, lambda: keys, PLATFORM, lambda: START_US, report)


def node_of(entries: Sequence[bytes]) -> log.NodeReader:
    leaves = [log.leaf_hash(entry) for entry in entries]
    return lambda height, index: log.full_root(leaves[index << height : (index + 1) << height])


def offer(writer: Writer, size: int, old: int, *, by: note.Signer | None = None) -> bytes:
    """The body of add-checkpoint, written here once more."""
    import base64

    proof = log.consistency_proof(old, size, node_of(writer.entries[:size]))
    lines = [f"old {old}", *(base64.b64encode(step).decode() for step in proof)]
    signed = writer.head(size).signed_by(by or writer.signer).encode()
    return ("\n".join(lines) + "\n\n").encode() + signed


def entries_body(
    writer: Writer, start: int, end: int, packages: int = 10**6, *, packed: bool = False
) -> bytes:
    """The body of add-entries, at most so many packages of it."""
    node = node_of(writer.entries[:end])
    parts = [upload_head(writer.origin, start, end)]
    at = start
    while at < end and packages:
        first = at - at % 256
        stop = min(end, first + 256)
        proof = subtree_proof(first, stop, end, node)
        parts += [log.encode_bundle(writer.entries[at:stop]), bytes([len(proof)]), *proof]
        at, packages = stop, packages - 1
    return gzip.compress(b"".join(parts)) if packed else b"".join(parts)
