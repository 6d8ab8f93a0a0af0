"""What comes to a mirror: bodies in any pieces, gzip in any members, and proofs held against their definition."""

import gzip
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from central.packages import Body, Inflater, Package, Upload, check_subtree, subtree_root
from evidence import log
from evidence.errors import ParseError
from gateway.mirroring import subtree_proof, upload_head

LEAVES = [log.leaf_hash(bytes([n])) for n in range(80)]


def node(height, index):
    return log.full_root(LEAVES[index << height : (index + 1) << height])


def valid_subtrees(size):
    for start in range(size):
        for end in range(start + 1, size + 1):
            if start % (1 << (end - start - 1).bit_length()) == 0:
                yield start, end


@pytest.mark.parametrize("size", [*range(1, 20), 33, 63, 64, 70])
def test_the_proof_of_every_subtree_checks_and_no_changed_one_does(size):
    root = subtree_root(LEAVES[:size])
    for start, end in valid_subtrees(size):
        proof = subtree_proof(start, end, size, node)
        subtree = subtree_root(LEAVES[start:end])
        assert check_subtree(start, end, size, subtree, root, proof), (start, end)
        assert not check_subtree(start, end, size, bytes(32), root, proof)
        assert not check_subtree(start, end, size, subtree, bytes(32), proof)
        assert not check_subtree(start, end, size, subtree, root, [*proof, bytes(32)])
        for i in range(len(proof)):
            assert not check_subtree(start, end, size, subtree, root, proof[:i] + proof[i + 1 :])
            changed = [*proof[:i], bytes(32), *proof[i + 1 :]]
            assert not check_subtree(start, end, size, subtree, root, changed)


def test_from_the_first_leaf_it_is_the_consistency_proof_and_of_one_leaf_the_inclusion_proof():
    for size in (5, 8, 21, 64):
        for end in range(1, size):
            assert tuple(subtree_proof(0, end, size, node)) == log.consistency_proof(end, size, node)
        for index in range(size):
            assert tuple(subtree_proof(index, index + 1, size, node)) == log.inclusion_proof(
                index, size, node
            )


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 5), (3, 3), (4, 9), (-1, 1)])
def test_what_is_no_subtree_has_no_proof(start, end):
    assert not check_subtree(start, end, 8, LEAVES[0], subtree_root(LEAVES[:8]), [])


def body(upload, entries, proof=()):
    parts = [upload_head(upload.origin, upload.start, upload.end, upload.ticket)]
    at = upload.start
    while at < upload.end:
        stop = min(upload.end, at - at % 256 + 256)
        parts += [log.encode_bundle(entries[at:stop]), bytes([len(proof)]), *proof]
        at = stop
    return b"".join(parts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 600), st.integers(0, 600), st.integers(1, 4000), st.binary(max_size=20))
def test_however_it_is_cut_the_same_packages_come_out(one, other, cut, ticket):
    start, end = sorted((one, other))
    entries = [n.to_bytes(2, "big") * (n % 7) for n in range(end)]
    upload = Upload("a.example/gw/1", start, end, ticket)
    proof = (bytes(32), b"\1" * 32)
    data = body(upload, entries, proof)
    reader = Body()
    found = [p for i in range(0, len(data), cut) for p in reader.feed(data[i : i + cut])]
    assert reader.upload == upload
    assert reader.complete
    assert reader.pending == 0
    assert [e for p in found for e in p.entries] == entries[start:end]
    assert all(p.proof == proof and p.end <= p.subtree + 256 for p in found)
    assert [p.start for p in found] == sorted({start, *range(-(-start // 256) * 256, end, 256)} - {end})[
        : len(found)
    ]


def test_a_package_that_is_not_whole_is_not_there():
    upload = Upload("a.example/gw/1", 0, 2)
    data = body(upload, [b"x", b"y"], [bytes(32)])
    for length in range(len(data)):
        reader = Body()
        assert list(reader.feed(data[:length])) == []
        assert not reader.complete
    assert list(Body().feed(data)) == [Package(0, (b"x", b"y"), (bytes(32),))]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff" + bytes(100),
        upload_head("a.example", 3, 2),
        upload_head("a.example", 0, 2**63),
        upload_head("a.example", 0, 1, bytes(1025)),
        b"\0\1\xff" + bytes(18),
        upload_head("a.example", 0, 1) + b"\0\1x" + bytes([64]),
    ],
)
def test_limits_and_nonsense_are_refused(data):
    with pytest.raises(ParseError):
        list(Body().feed(data))


def test_gzip_of_several_members_is_one_stream_and_a_bomb_stops_at_its_limit():
    chance = random.Random(1)
    parts = [chance.randbytes(n) for n in (0, 1, 70_000, 5)]
    stream = b"".join(map(gzip.compress, parts))
    for cut in (1, 7, 100_000):
        inflater = Inflater(1_000_000)
        out = b"".join(p for i in range(0, len(stream), cut) for p in inflater.feed(stream[i : i + cut]))
        assert out == b"".join(parts)
    bomb = gzip.compress(bytes(50_000_000))
    given = 0
    with pytest.raises(ParseError, match="unpacked"):
        for piece in Inflater(1_000_000).feed(bomb):
            given += len(piece)
    assert given <= 1_000_000
    with pytest.raises(ParseError, match="gzip"):
        list(Inflater(100).feed(b"no gzip at all"))
