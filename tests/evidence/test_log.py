"""The tree, its tiles and its proofs, against the definitions of RFC 6962 written down as they stand."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import log
from evidence.errors import ParseError


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word, over leaf *data*."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def data(size: int) -> list[bytes]:
    return [b"leaf %d" % i for i in range(size)]


def node_reader(leaves: list[bytes]) -> log.NodeReader:
    def node(height: int, index: int) -> bytes:
        part = leaves[index << height : (index + 1) << height]
        assert len(part) == 1 << height, "asked for a node that is not full"
        return naive_root(part)

    return node


def grown(leaves: list[bytes]) -> log.Tree:
    tree = log.Tree()
    tree.extend(map(log.leaf_hash, leaves))
    return tree


sizes = st.integers(0, 70)

# The test vectors of RFC 6962's reference implementation (certificate-transparency, merkletree tests).
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("size", CT_ROOTS)
def test_roots_of_the_certificate_transparency_vectors(size):
    assert grown(CT_LEAVES[:size]).root().hex() == CT_ROOTS[size]


@given(sizes)
def test_the_growing_tree_has_the_root_of_the_definition(size):
    tree = grown(data(size))
    assert tree.size == size
    assert tree.root() == naive_root(data(size))
    assert log.root_from(size, node_reader(data(size))) == tree.root()


@given(sizes, sizes)
def test_a_tree_goes_on_from_its_peaks(size, more):
    first = grown(data(size))
    restored = log.Tree(first.size, first.peaks)
    restored.extend(map(log.leaf_hash, data(size + more)[size:]))
    assert restored.root() == naive_root(data(size + more))


def test_a_tree_is_not_restored_from_the_wrong_peaks():
    for size, peaks in ((3, [b"a" * 32]), (2, [b"short"]), (-1, []), (0, [b"a" * 32])):
        with pytest.raises(ValueError, match="peak"):
            log.Tree(size, peaks)


def test_whole_tiles_are_added_by_their_root():
    leaves = [log.leaf_hash(entry) for entry in data(3 * 256 + 7)]
    tree = log.Tree()
    for i in range(3):
        tree.append_tile(log.full_root(leaves[256 * i : 256 * (i + 1)]))
    tree.extend(leaves[3 * 256 :])
    assert tree.root() == naive_root(data(3 * 256 + 7))
    with pytest.raises(ValueError, match="cannot begin"):
        tree.append_tile(leaves[0])


@given(st.integers(1, 70), st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_check(size, draw):
    index = draw.draw(st.integers(0, size - 1))
    leaves = data(size)
    proof = log.inclusion_proof(index, size, node_reader(leaves))
    assert list(proof) == naive_path(index, leaves)
    leaf, root = log.leaf_hash(leaves[index]), naive_root(leaves)
    assert log.check_inclusion(leaf, index, size, proof, root)
    assert not log.check_inclusion(log.leaf_hash(b"other"), index, size, proof, root)
    assert not log.check_inclusion(leaf, index, size, proof, bytes(32))
    assert not log.check_inclusion(leaf, index, size, (*proof, bytes(32)), root)
    assert not log.check_inclusion(leaf, size, size, proof, root)
    for other in {*range(size)} - {index}:
        assert not log.check_inclusion(leaf, other, size, proof, root)
    for i in range(len(proof)):
        assert not log.check_inclusion(leaf, index, size, proof[:i] + proof[i + 1 :], root)
        assert not log.check_inclusion(leaf, index, size, (*proof[:i], bytes(32), *proof[i + 1 :]), root)


@given(st.integers(0, 70), st.data())
def test_consistency_proofs_are_those_of_the_definition_and_check(new, draw):
    old = draw.draw(st.integers(0, new))
    leaves = data(new)
    proof = log.consistency_proof(old, new, node_reader(leaves))
    assert list(proof) == (naive_subproof(old, leaves, True) if 0 < old < new else [])
    old_root, new_root = naive_root(leaves[:old]), naive_root(leaves)
    assert log.check_consistency(old, new, old_root, new_root, proof)
    assert not log.check_consistency(old, new, old_root, new_root, (*proof, bytes(32)))
    if old > 0:
        assert not log.check_consistency(old, new, bytes(32), new_root, proof)
        assert not log.check_consistency(old, new, old_root, bytes(32), proof)
    for i in range(len(proof)):
        assert not log.check_consistency(old, new, old_root, new_root, proof[:i] + proof[i + 1 :])
        assert not log.check_consistency(
            old, new, old_root, new_root, (*proof[:i], bytes(32), *proof[i + 1 :])
        )


def test_no_proof_where_none_can_be():
    reader = node_reader(data(4))
    for index, size in ((4, 4), (-1, 4), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            log.inclusion_proof(index, size, reader)
    with pytest.raises(ValueError, match="begins"):
        log.consistency_proof(5, 4, reader)
    assert not log.check_consistency(5, 4, bytes(32), bytes(32), ())


# ── tiles ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (log.Tile(0, 1234067), "tile/0/x001/x234/067"),
        (log.Tile(0, 0), "tile/0/000"),
        (log.Tile(1, 1000, 17), "tile/1/x001/000.p/17"),
        (log.Tile(None, 999, 255), "tile/entries/999.p/255"),
        (log.Tile(63, 5), "tile/63/005"),
    ],
)
def test_paths_of_tiles(tile, path):
    assert tile.path == path
    assert log.parse_path(path) == tile


@given(st.none() | st.integers(0, 63), st.integers(0, 10**15), st.integers(1, 256))
def test_paths_are_read_back(level, index, width):
    tile = log.Tile(level, index, width)
    assert log.parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    ["", "checkpoint", "tile/0/0", "tile/00/000", "tile/64/000", "tile/0/x000/001", "tile/0/1000", "tile/0/001.p/0",
     "tile/0/001.p/256", "tile/0/001.p/07", "tile/entries/../001", "/tile/0/001", "tile/0/001\n", "tile/-1/001",
     "tile/0/x001", "tile/0/٠٠١"],
)  # fmt: skip
def test_a_path_has_one_spelling(path):
    with pytest.raises(ParseError):
        log.parse_path(path)


def test_the_tiles_of_the_specifications_example():
    found = list(log.tiles(70_000))
    assert sum(t.level == 0 and t.full for t in found) == 273
    assert [t for t in found if not t.full] == [log.Tile(0, 273, 112), log.Tile(1, 1, 17), log.Tile(2, 0, 1)]
    assert [t for t in found if t.level and t.full] == [log.Tile(1, 0)]
    assert list(log.tiles(256)) == [log.Tile(0, 0), log.Tile(1, 0, 1)]
    assert list(log.tiles(0)) == []


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_new_tiles_are_those_that_the_older_tree_had_not(a, b):
    old, new = sorted((a, b))
    assert set(log.tiles(new, old)) == set(log.tiles(new)) - set(log.tiles(old))
    assert set(log.bundles(new, old)) == set(log.bundles(new)) - set(log.bundles(old))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 1000])
def test_every_node_is_found_in_the_tiles(size):
    leaves = [log.leaf_hash(entry) for entry in data(size)]
    rows = [leaves]
    while len(rows[-1]) >= 2:
        pairs = zip(rows[-1][::2], rows[-1][1::2], strict=False)
        rows.append([log.node_hash(*pair) for pair in pairs])
    stored = {}
    for tile in log.tiles(size):
        row = rows[8 * tile.level]
        stored[tile] = b"".join(row[tile.index * 256 : tile.index * 256 + tile.width])
    node = log.tile_node_reader(stored.__getitem__, size)
    for height, row in enumerate(rows):
        for index in {0, len(row) // 2, len(row) - 1} & {*range(len(row))}:
            assert node(height, index) == row[index]
        with pytest.raises(ValueError, match="no full subtree"):
            node(height, len(row))
    assert log.root_from(size, node) == grown(data(size)).root()


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_are_read_back(entries):
    assert log.decode_bundle(log.encode_bundle(entries), len(entries)) == entries


def test_a_bundle_is_exactly_its_entries():
    bundle = log.encode_bundle([b"a", b"", b"ccc"])
    assert bundle == b"\x00\x01a\x00\x00\x00\x03ccc"
    for wrong, width in (
        (bundle, 2),
        (bundle, 4),
        (bundle[:-1], 3),
        (bundle + b"\x00", 3),
        (bundle + b"\x00\x00", 3),
    ):
        with pytest.raises(ParseError):
            log.decode_bundle(wrong, width)
    with pytest.raises(ValueError, match="65535"):
        log.encode_bundle([bytes(65_536)])
    assert log.decode_bundle(log.encode_bundle([bytes(65_535)]), 1) == [bytes(65_535)]


def test_a_tile_is_exactly_its_hashes():
    assert log.tile_hashes(bytes(64), 2) == [bytes(32), bytes(32)]
    for wrong in (bytes(63), bytes(65), b""):
        with pytest.raises(ParseError):
            log.tile_hashes(wrong, 2)
