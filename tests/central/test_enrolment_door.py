"""The door where gateways enrol: what comes in is a stranger's until a person has compared its fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from central.authority import Authority, AuthorityError, Wanted
from central.enrolment import EnrolmentRefused, Enrolments
from central.enrolment_door import application
from central.registry import Registered, Registry
from evidence.enrolment import LIMIT, MAX_COMMON_NAME, Application, common_name
from evidence.note import Ed25519Signer
from gateway.enrolment import Enrolment, EnrolmentError
from gateway.keys import create
from gateway.mqtt import topic_id

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ORIGIN = "platform.example/gw/0001"
T = 1_795_000_000_000_000


class Box:
    """A gateway that wants to enrol."""

    def __init__(self, directory, origin=ORIGIN):
        self.signer = Ed25519Signer.generate(origin)
        self.state = Enrolment(directory, origin)

    def note(self, addresses=("gw.example",), at=T):
        return self.state.apply(self.signer, addresses, at)

    @property
    def fingerprint(self):
        return Application.parse(self.note()).fingerprint


class Now:
    """A clock that is set."""

    at = NOW

    def __call__(self):
        return self.at


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def platform(tmp_path, now):
    directory = tmp_path / "platform"
    directory.mkdir()
    authority = Authority.create(directory / "ca", "Smelter", NOW)
    witness = create(directory / "platform.key", "platform.example/receipts", receipts=True)
    (directory / "policy").write_text(f"witness centre {witness.vkey}\nquorum centre\n")
    return Enrolments(directory, Registry(directory / "gateways"), now, authority=authority)


@pytest.fixture
async def knock(platform):
    told = []
    transport = httpx.ASGITransport(app=application(platform, told.append))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:

        async def post(body):
            return await client.post("/enrol", content=body)

        post.told = told
        yield post


async def test_it_waits_for_a_person_and_then_gets_a_certificate_for_its_own_key(tmp_path, platform, knock):
    box = Box(tmp_path / "box")
    assert (await knock(box.note())).status_code == 202
    assert [one.application.origin for one in platform.waiting] == [ORIGIN]
    assert platform.waiting[0].addresses == ("gw.example",)
    with pytest.raises(EnrolmentRefused, match="compare the fingerprint"):
        platform.approve(box.note(), "0000 0000 0000 0000 0000")
    assert (await knock(box.note())).status_code == 202, "a wrong fingerprint has let nobody in"
    platform.approve(box.note(), box.fingerprint)
    answer = await knock(box.note())
    assert answer.status_code == 200, answer.text
    assert answer.status_code == 200
    assert not platform.waiting
    assert box.state.take(answer.content, NOW).ends == NOW + timedelta(days=365)
    made = x509.load_pem_x509_certificate(box.state.identity.read_bytes())
    assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == topic_id(ORIGIN)
    assert "gw.example" in made.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)


async def test_who_is_approved_renews_alone_with_a_new_key_but_not_under_new_addresses(
    tmp_path, platform, knock
):
    box = Box(tmp_path / "box")
    platform.approve(box.note(), box.fingerprint)
    box.state.take((await knock(box.note())).content, NOW)
    first = box.state.identity.read_bytes()
    renewed = await knock(box.note(at=T + 1))
    assert renewed.status_code == 200
    box.state.take(renewed.content, NOW)
    assert box.state.identity.read_bytes() != first
    assert (await knock(box.note(("gw.example", "bank.example"), T + 2))).status_code == 202
    assert platform.waiting[0].addresses == ("bank.example", "gw.example")


async def test_an_old_application_played_back_is_refused(tmp_path, platform, knock):
    box = Box(tmp_path / "box")
    old = box.note()
    platform.approve(old, box.fingerprint)
    box.state.take((await knock(old)).content, NOW)
    assert (await knock(box.note(at=T + 1))).status_code == 200
    assert (await knock(old)).status_code == 409


async def test_another_box_under_an_enrolled_name_and_a_suspended_one_stay_outside(tmp_path, platform, knock):
    box, thief = Box(tmp_path / "box"), Box(tmp_path / "thief")
    platform.approve(box.note(), box.fingerprint)
    refused = await knock(thief.note())
    assert refused.status_code == 409
    assert "another key" in refused.text
    with pytest.raises(EnrolmentRefused, match="another key"):
        platform.approve(thief.note(), thief.fingerprint)
    registry = Registry(tmp_path / "platform" / "gateways")
    registry.put(Registered(registry.gateways[0].verifier, active=False))
    assert (await knock(box.note())).status_code == 403


async def test_an_answer_for_another_box_is_not_taken(tmp_path, platform, knock):
    box, other = Box(tmp_path / "box"), Box(tmp_path / "other")
    platform.approve(box.note(), box.fingerprint)
    answer = await knock(box.note())
    assert answer.status_code == 200, answer.text
    other.note()
    with pytest.raises(EnrolmentError, match="another key"):
        other.state.take(answer.content, NOW)
    assert not other.state.done


async def test_a_platform_that_is_not_set_up_tells_its_operator_and_not_the_stranger(
    tmp_path, platform, knock
):
    box = Box(tmp_path / "box")
    platform.approve(box.note(), box.fingerprint)
    (tmp_path / "platform" / "policy").unlink()
    answer = await knock(box.note())
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    assert "policy" in knock.told[-1]


async def test_what_is_no_application_is_refused_in_words_and_leaves_nothing(tmp_path, platform, knock):
    note = Box(tmp_path / "box").note()
    lines = note.split(b"\n")
    no_request = b"\n".join((*lines[:3], b"1 AAAA", *lines[4:]))
    for body in (
        b"",
        b"\xff" * 50,
        note[:-20],
        note.replace(b"gw/0001", b"gw/0002"),
        no_request,
        note + note,
    ):
        answer = await knock(body)
        assert answer.status_code == 400, body[:40]
        assert answer.text.strip()
    assert (await knock(b"x" * (LIMIT + 1))).status_code == 413
    bare = Application(Ed25519Signer.generate(ORIGIN).verifier)
    unsigned = bare.signed_by(Ed25519Signer.generate(ORIGIN))
    assert (await knock(unsigned)).status_code == 400
    assert not platform.waiting
    assert knock.told


async def test_an_answer_that_was_lost_is_given_again_and_a_young_certificate_with_it(
    tmp_path, platform, now
):
    box = Box(tmp_path / "box")
    platform.approve(box.note(), box.fingerprint)
    first = platform.take(box.note()).certificate
    now.at += timedelta(days=100)
    assert platform.take(box.note()).certificate == first
    now.at += timedelta(days=200)
    assert box.state.take(platform.take(box.note()).encode(), now.at).ends == now.at + timedelta(days=365)


async def test_the_fingerprint_may_be_told_before_the_gateway_asks(tmp_path, platform, knock):
    box, thief = Box(tmp_path / "box"), Box(tmp_path / "thief")
    fingerprint = box.fingerprint
    with pytest.raises(EnrolmentRefused, match="20 digits"):
        platform.expect(ORIGIN, "1a2b")
    platform.expect(ORIGIN, fingerprint.upper(), ("gw.example", "fe80::0001"))
    assert [one.fingerprint for one in platform.expected] == [fingerprint]
    assert (await knock(thief.note())).status_code == 202, "the name alone opens nothing"
    answer = await knock(box.note())
    assert answer.status_code == 200, answer.text
    box.state.take(answer.content, NOW)
    assert not platform.expected
    with pytest.raises(EnrolmentRefused, match="registered already"):
        platform.expect(ORIGIN, fingerprint)


async def test_who_is_expected_waits_if_it_wants_addresses_that_nobody_told(tmp_path, platform, knock):
    box = Box(tmp_path / "box")
    platform.expect(ORIGIN, box.fingerprint, ("other.example",))
    assert (await knock(box.note())).status_code == 202
    assert [one.source for one in platform.waiting] == ["reserved"]


async def test_a_gateway_that_is_forgotten_begins_anew(tmp_path, platform, knock):
    box = Box(tmp_path / "box")
    platform.approve(box.note(), box.fingerprint)
    assert platform.forget(ORIGIN)
    assert not platform.forget(ORIGIN)
    assert (await knock(box.note())).status_code == 202
    other = Box(tmp_path / "other")
    platform.approve(other.note(), other.fingerprint)


def test_a_name_that_no_certificate_holds_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(AuthorityError, match="1 to 55 letters"):
        Authority.create(tmp_path / "ca", "冶" * 19, NOW)
    assert not (tmp_path / "ca").exists()
    made = Authority.create(tmp_path / "ca", "冶" * 18, NOW)
    with pytest.raises(AuthorityError, match="1 to 64 letters"):
        made.for_platform("x" * 65, (), NOW, 1)


def test_no_two_logs_share_a_common_name():
    ends = "/" + "x" * MAX_COMMON_NAME
    names = [common_name(f"{start}.example{ends}") for start in ("a", "b")]
    assert names[0] != names[1]
    assert all(len(name) <= MAX_COMMON_NAME for name in names)


def test_a_request_of_a_key_that_nobody_knows_is_refused_in_words():
    """The object identifier of the key's algorithm is another: no such thing exists."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw")])
    der = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    raw = der.public_bytes(serialization.Encoding.DER)
    of_ec = bytes.fromhex("06072a8648ce3d0201")
    assert raw.count(of_ec) == 1
    with pytest.raises(AuthorityError, match=r"the request for a certificate cannot be read: .*key type"):
        Wanted.parse(raw.replace(of_ec, bytes.fromhex("06072a0148ce3d0201")))
