"""One proof for many entries: the hashes of the subtrees in which nothing is disclosed, each of them once.

From left to right, as RFC 6962 divides the tree: a subtree without a disclosed entry is one hash; a disclosed entry
is hashed itself; everything else follows. Single audit paths for a day of one meter would repeat most of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from .log import EMPTY_ROOT, NodeReader, node_hash, range_root


def covering_hashes(disclosed: Sequence[int], size: int, node: NodeReader) -> tuple[bytes, ...]:
    """The hashes that lead, with the disclosed leaves (ascending indexes), to the root of ``size`` leaves."""
    return tuple(range_root(start, end, node) for start, end in hidden_ranges(disclosed, size))


def hidden_ranges(disclosed: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """The subtrees without a disclosed leaf, left to right, as ``(start, end)``."""

    def walk(start: int, end: int) -> Iterator[tuple[int, int]]:
        at = bisect_left(disclosed, start)
        if at == len(disclosed) or disclosed[at] >= end:
            yield start, end
        elif end - start > 1:
            middle = start + (1 << (end - start - 1).bit_length() - 1)
            yield from walk(start, middle)
            yield from walk(middle, end)

    if size:
        yield from walk(0, size)


def root_of(
    disclosed: Sequence[int], leaves: Sequence[bytes], size: int, hashes: Sequence[bytes]
) -> bytes | None:
    """The root that disclosed leaf hashes and covering hashes lead to; None if they do not fit together."""
    if not size:
        return EMPTY_ROOT if not disclosed and not hashes else None
    rest = iter(hashes)
    missing = False

    def walk(start: int, end: int) -> bytes:
        nonlocal missing
        at = bisect_left(disclosed, start)
        if at == len(disclosed) or disclosed[at] >= end:
            found = next(rest, None)
            missing = missing or found is None
            return found or bytes(32)
        if end - start == 1:
            return leaves[at]
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        return node_hash(walk(start, middle), walk(middle, end))

    root = walk(0, size)
    return None if missing or next(rest, None) is not None else root
