"""Notes, keys, checkpoints and cosignatures: the published examples, one spelling, and no signature taken on
trust.
"""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import log, note
from evidence.errors import ParseError
from tests.evidence.logs import Writer, signer

# The example of C2SP signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of Go's sumdb/note documentation.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
LOG = signer()
PLATFORM = signer("platform.example", 2)
CHECKPOINT = Writer().grow(20).head()
SIGNED = CHECKPOINT.signed_by(LOG)


@pytest.mark.parametrize(("key", "text"), [(EXAMPLE_KEY, EXAMPLE), (GO_KEY, GO_NOTE)])
def test_published_examples_verify_and_are_written_the_same(key, text):
    verifier = note.Verifier.parse(key)
    opened = note.Note.parse(text).verified(verifier)
    assert opened.format() == text
    assert verifier.vkey == key


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        EXAMPLE_KEY[:-1],
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("530d903a", "530D903A"),
        EXAMPLE_KEY.replace("foo", "fooo"),
        EXAMPLE_KEY.replace("example.com/foo", ""),
        EXAMPLE_KEY.replace("example.com/foo", "example com/foo"),
        "x+00000000+/w==",
    ],
)
def test_a_mistyped_key_is_refused(vkey):
    with pytest.raises(ParseError):
        note.Verifier.parse(vkey)


def test_a_verifier_is_kept_and_read_back():
    assert note.Verifier.parse(LOG.verifier.vkey) == LOG.verifier
    assert note.Verifier.parse(PLATFORM.cosigner.vkey) == PLATFORM.cosigner
    assert LOG.verifier.id != LOG.cosigner.id
    for name in ("", "a b", "a+b", "a\nb", "a\u2003b"):
        with pytest.raises(ValueError, match="name"):
            note.Ed25519Signer.generate(name)


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        EXAMPLE[:-1],
        EXAMPLE + "\n",
        EXAMPLE.replace("— ", "- "),
        EXAMPLE.replace("— ", "—  "),
        EXAMPLE.replace("foo Uw", "foo  Uw"),
        EXAMPLE.replace("QM=", "QN="),  # other trailing bits, the same bytes
        EXAMPLE.replace("QM=", "QM"),
        EXAMPLE.replace("\n", "\r\n"),
        EXAMPLE.replace("example message", "example\tmessage"),
        EXAMPLE.replace("example.com/foo", "example+foo"),
        EXAMPLE + "more\n",
        "text\n\n— name AAAA\n",  # a key id without a signature
    ],
)
def test_a_note_has_one_spelling(text):
    with pytest.raises(ParseError):
        note.Note.parse(text)
    with pytest.raises(ParseError):
        note.Note.parse(text.encode())


@given(st.binary(max_size=120) | st.text(max_size=80))
def test_no_bytes_raise_anything_but_parse_error(data):
    for parse in (note.Note.parse, note.Proof.parse):
        with pytest.raises(ParseError):
            parse(data)


@given(st.text(max_size=40).filter(lambda t: note._CONTROL.search(t) is None).map(lambda t: t + "\n"))
def test_notes_are_read_back(text):
    signed = note.Note(text).signed_by(LOG, PLATFORM)
    assert note.Note.parse(signed.encode()) == signed
    assert signed.verified(LOG.verifier) == signed


def test_signatures_of_unknown_keys_and_types_are_ignored_at_least_sixteen_of_them():
    other = [
        note.Signature(f"w{i}.example", b"\xff\x00\x00" + bytes([i]), b"?" * (5 + 300 * i)) for i in range(20)
    ]
    same_name = note.Signature(LOG.name, b"\x01\x02\x03\x04", bytes(64))
    crowd = note.Note(SIGNED.text, (*other, same_name, *SIGNED.signatures))
    parsed = note.Note.parse(crowd.encode())
    assert note.open_checkpoint(parsed.encode(), LOG.verifier)[0] == CHECKPOINT
    with pytest.raises(ParseError, match="signatures"):
        note.Note.parse(note.Note(SIGNED.text, (*other, *other)).encode())


def test_every_changed_bit_of_a_signed_checkpoint_is_refused():
    data = SIGNED.encode()
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises((ParseError, note.VerifyError)):
                note.open_checkpoint(bytes(damaged), LOG.verifier)


def test_a_wrong_line_of_the_known_key_spoils_the_note():
    wrong = note.Signature(LOG.name, LOG.verifier.id, bytes(64))
    for lines in ((wrong,), (wrong, *SIGNED.signatures), (*SIGNED.signatures, wrong)):
        with pytest.raises(note.VerifyError, match="wrong"):
            note.Note(SIGNED.text, lines).verified(LOG.verifier)


def test_a_key_signs_for_its_own_origin_only():
    elsewhere = note.Checkpoint("other.example/gw/1", 3, bytes(32)).signed_by(LOG)
    with pytest.raises(note.VerifyError, match=r"other\.example"):
        note.open_checkpoint(elsewhere.encode(), LOG.verifier)
    with pytest.raises(note.VerifyError, match="not signed"):
        note.open_checkpoint(SIGNED.encode(), PLATFORM.verifier)


# ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_are_read_back(size, root):
    head = note.Checkpoint("a/b", size, root)
    assert note.Checkpoint.parse(head.text) == head


def test_extension_lines_are_read_and_never_written():
    text = SIGNED.text + "extension\nanother one\n"
    read = note.Checkpoint.parse(text)
    assert read.extensions == ("extension", "another one")
    assert read.text == text
    signed = note.Note(text).signed_by(LOG)
    assert note.open_checkpoint(signed.encode(), LOG.verifier)[0] == read
    with pytest.raises(ValueError, match="extension"):
        read.signed_by(LOG)


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    ["", "a\n", "a\n1\n", f"a\n1\n{ROOT}", f"\n1\n{ROOT}\n", f"a\n01\n{ROOT}\n", f"a\n-1\n{ROOT}\n", f"a\n+1\n{ROOT}\n",
     f"a\n1 \n{ROOT}\n", f"a\n٣\n{ROOT}\n", f"a\n1\n{ROOT[:-4]}\n", f"a\n1\n{ROOT}\n\n", f"a\n1\n{ROOT}\n\nb\n",
     f"a\n{2**63}\n{ROOT}\n", f"a\n1\n{ROOT[:-2]}B=\n"],
)  # fmt: skip
def test_a_checkpoint_has_one_spelling(text):
    with pytest.raises(ParseError):
        note.Checkpoint.parse(text)


# ── cosignatures ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cosignature_says_when_and_covers_the_time():
    receipt = SIGNED.cosigned_by(PLATFORM, 1_790_000_000)
    read = note.Note.parse(receipt.encode())
    assert read.cosigned_at(PLATFORM.cosigner) == 1_790_000_000
    line = read.by(PLATFORM.cosigner)[0]
    assert len(line.blob) == 72
    later = note.Signature(line.name, line.key_id, (1_790_000_001).to_bytes(8, "big") + line.blob[8:])
    assert note.Note(read.text, (*SIGNED.signatures, later)).cosigned_at(PLATFORM.cosigner) is None


def test_the_cosigned_message_is_that_of_the_specification():
    """tlog-cosignature: header line, time line, then the whole note body, signed with plain Ed25519."""
    receipt = SIGNED.cosigned_by(PLATFORM, 1679315147)
    message = "cosignature/v1\ntime 1679315147\n" + SIGNED.text
    plain = note.Verifier("x", note.ED25519, PLATFORM.public)
    assert plain.check(message, receipt.by(PLATFORM.cosigner)[0].blob[8:])


def test_a_cosignature_is_neither_a_signature_nor_anothers():
    receipt = SIGNED.cosigned_by(PLATFORM, 5)
    assert not receipt.is_signed_by(PLATFORM.verifier)
    assert SIGNED.cosigned_at(PLATFORM.cosigner) is None
    assert receipt.cosigned_at(signer("platform.example", 3).cosigner) is None
    assert note.best_cosignature(receipt, [signer("w", 3).cosigner, PLATFORM.cosigner]) == (
        PLATFORM.cosigner,
        5,
    )
    assert note.best_cosignature(SIGNED, [PLATFORM.cosigner]) is None
    with pytest.raises(ParseError):
        note.Note("no checkpoint\n").cosigned_by(PLATFORM, 5)
    with pytest.raises(ValueError, match="1970"):
        PLATFORM.cosign(SIGNED.text, -1)


# ── keys of keys, proofs ────────────────────────────────────────────────────────────────────────────────────


def test_a_new_key_is_introduced_by_the_old_and_by_itself():
    new, stranger = signer(LOG.name, 9), signer(LOG.name, 8)
    statement = note.key_statement(LOG.name, new, LOG)
    assert note.check_key_statement(statement, LOG.name, new.verifier.vkey, LOG.verifier)
    assert not note.check_key_statement(statement, LOG.name, stranger.verifier.vkey, LOG.verifier)
    assert not note.check_key_statement(statement, "other", new.verifier.vkey, LOG.verifier)
    assert not note.check_key_statement(
        note.key_statement(LOG.name, new), LOG.name, new.verifier.vkey, LOG.verifier
    )
    only_old = note.Note(note.Note.parse(statement).text).signed_by(LOG).format()
    assert not note.check_key_statement(only_old, LOG.name, new.verifier.vkey, LOG.verifier)


def offline_proof(index: int, size: int) -> bytes:
    """A sound proof of one entry of a small log."""
    writer = Writer().grow(size)
    hashes = [log.leaf_hash(entry) for entry in writer.entries]
    reader = log.tile_node_reader(lambda tile: b"".join(hashes[tile.start : tile.start + tile.width]), size)
    signed = writer.head().signed_by(LOG)
    return note.Proof(index, log.inclusion_proof(index, size, reader), signed, b"extra").format().encode()


def test_an_offline_proof_shows_one_entry_and_no_other():
    writer = Writer().grow(40)
    hashes = [log.leaf_hash(entry) for entry in writer.entries]
    reader = log.tile_node_reader(lambda tile: b"".join(hashes[tile.start : tile.start + tile.width]), 40)
    signed = writer.head().signed_by(LOG)
    proof = note.Proof(17, log.inclusion_proof(17, 40, reader), signed, b"extra")
    read = note.Proof.parse(proof.format().encode())
    assert read == proof
    assert read.verify(writer.entries[17], LOG.verifier) == writer.head()
    with pytest.raises(note.VerifyError, match="17"):
        read.verify(writer.entries[18], LOG.verifier)
    with pytest.raises(note.VerifyError):
        read.verify(writer.entries[17], PLATFORM.verifier)
    for change in (
        ("index 17", "index 017"),
        ("index 17", "index  17"),
        ("@v1", "@v2"),
        ("extra ", "extra  "),
    ):
        with pytest.raises(ParseError):
            note.Proof.parse(proof.format().replace(*change))
