"""OPC UA servers that notify: what the site file says of them, and a server of another make on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from drivers.opcua_points import Notification
from evidence.record import Gap, Reading, decode
from gateway import opcua_access, opcua_subscriber
from gateway.agent import Agent
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.config import SiteFile
from gateway.listening import unheard
from gateway.opcua_access import AccessError, access_of
from gateway.opcua_subscriber import notification
from gateway.planning import plan_of
from gateway.prepare import prepare
from gateway.site_keys import log_key
from gateway.store import LogStore
from gateway.toml_source import ConfigError
from sim.ports import free_port
from tests.rigs.opcua_server import URI, Users, meter_server

SITE = f"""
[site]
name = "workshop"
origin = "platform.example/gw/opcua"

[log]
commit = "20ms"
checkpoint = "60ms"

[serve]
listen = "127.0.0.1:0"

[[bus]]
name = "scada"
protocol = "opcua"
port = "opc.tcp://127.0.0.1:4840/meters"

[[bus.instrument]]
id = "press"
address = "{URI}"
period = "500ms"
refresh = "50ms"
accuracy_class = "1"
rated_current = "5"

[bus.instrument.value."energy.active.import"]
path = "s=Press.Energy"
unit = "kWh"
resolution = "0.001"

[bus.instrument.value."power.active.total"]
path = "s=Press.Power"
unit = "kW"
scale = "0.001"
"""
NODES = {"Press.Energy": "Double", "Press.Power": "Float"}
SECURITY = """
security = { certificate = "gateway.pem", private_key = "gateway.key", server_certificate = "server.pem" }
"""


def today():
    return datetime.fromtimestamp(SystemClock().now().utc_us / 1e6, UTC)


def site(tmp_path, text=SITE):
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return SiteFile(path)


def bus_with(lines, text=SITE):
    return text.replace('/meters"\n', '/meters"\n' + lines, 1)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


# ---- what the site file says -----------------------------------------------------------------------------------------


def test_values_are_nodes_in_the_instruments_namespace(tmp_path):
    (push,) = prepare(site(tmp_path), today).pushes
    (query,) = push.meters[0].queries
    assert [point.item for point in query.points] == [f"nsu={URI};s=Press.Energy", f"nsu={URI};s=Press.Power"]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("opc.tcp://127.0.0.1:4840/meters", "opc.tcp://127.0.0.1", "no port of opcua"),
        ("opc.tcp://127.0.0.1:4840/meters", "opc.tcp://me:secret@127.0.0.1:4840", "no port of opcua"),
        ("s=Press.Power", "Press.Power", "'Press.Power' is no node id"),
        (f'address = "{URI}"', 'address = "press 1"', "'press 1' is no namespace"),
        ('resolution = "0.001"\n', "", "states no resolution"),
        ('unit = "kW"', 'unit = "V"', "power.active.total in 'V'"),
        ('period = "500ms"', 'period = "500ms"\ntime = "t"', "'time' has no meaning on a bus of opcua"),
        ('/meters"\n', '/meters"\nusername = "me"\n', "a user needs a password"),
        ('/meters"\n', '/meters"\npassword_env = "SUYUAN_NOBODY_SETS_THIS"\n', "a user needs a password"),
        (
            '/meters"\n',
            '/meters"\nusername = "me"\npassword_env = "SUYUAN_NOBODY_SETS_THIS"\n',
            "the environment has no SUYUAN_NOBODY_SETS_THIS",
        ),
        ('/meters"\n', '/meters"\nusername = "me"\npassword_file = "gone"\n', "No such file"),
        ('/meters"\n', '/meters"\nusername = "me"\npassword = "x"\n', "does not stand in the site file"),
        ('/meters"\n', '/meters"\n' + SECURITY, "No such file"),
    ],
)
def test_what_a_site_file_says_wrongly_of_a_server_is_told(tmp_path, old, new, what):
    assert old in SITE
    with pytest.raises(ConfigError) as caught:
        prepare(site(tmp_path, SITE.replace(old, new, 1)), today)
    assert what in str(caught.value)


def test_what_is_for_opcua_alone_is_refused_elsewhere(tmp_path):
    text = bus_with('password_file = "x"\n').replace('"opcua"', '"mqtt"')
    with pytest.raises(ConfigError, match="'password_file' has no meaning on a bus of mqtt"):
        site(tmp_path, text)


def test_without_the_library_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(opcua_access, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"asyncua\) is not installed") as caught:
        prepare(site(tmp_path), today)
    assert "pip install 'suyuan[opcua]'" in str(caught.value)


def test_a_password_that_others_may_read_on_the_way_is_a_warning(tmp_path):
    (tmp_path / "password").write_text("s3cret\n", "utf-8")
    prepared = prepare(site(tmp_path, bus_with('username = "me"\npassword_file = "password"\n')), today)
    assert ["may cross the network readable" in w.message for w in prepared.warnings] == [True]
    assert prepared.pushes[0].access.password == "s3cret"
    assert "s3cret" not in repr(prepared)


def test_a_password_may_come_from_the_environment(tmp_path):
    file = site(tmp_path, bus_with('username = "me"\npassword_env = "SCADA"\n'))
    assert access_of(file.site.buses[0], tmp_path, {"SCADA": "s3cret"}).password == "s3cret"


# ---- certificates ----------------------------------------------------------------------------------------------------


def certified(directory, name, uri, key=None):
    """A self-signed certificate with the URI of its application, and its key, in PEM files."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.DNSName("localhost"), *([x509.UniformResourceIdentifier(uri)] if uri else [])]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today() - timedelta(days=1))
        .not_valid_after(today() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = directory / f"{name}.pem", directory / f"{name}.key"
    files[0].write_bytes(made.public_bytes(pem))
    files[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    certified(directory, "gateway", "urn:suyuan:gateway")
    certified(directory, "server", "urn:freeopcua:python:server")
    certified(directory, "stranger", "urn:freeopcua:python:server")
    certified(directory, "nameless", "")
    certified(directory, "curve", "urn:suyuan:gateway", ec.generate_private_key(ec.SECP256R1()))
    return directory


def in_directory(text, directory):
    for name in ("gateway.pem", "gateway.key", "server.pem", "stranger", "nameless", "curve"):
        text = text.replace(f'"{name}', f'"{directory}/{name}')
    return text


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"gateway.key"', '"stranger.key"', "it is not the key of the certificate"),
        ('"gateway.pem"', '"nameless.pem"', "names no application"),
        ('"gateway.key"', '"curve.key"', "not an RSA key"),
        ('"server.pem"', '"gateway.key"', "cannot be used"),
    ],
)
def test_certificates_that_cannot_be_used_are_told_before_anybody_connects(
    tmp_path, certificates, old, new, what
):
    text = SECURITY.replace(old, new)
    if "nameless.pem" in new:
        text = text.replace('"gateway.key"', '"nameless.key"')
    file = site(tmp_path, bus_with(in_directory(text, certificates)))
    with pytest.raises(AccessError, match=what):
        access_of(file.site.buses[0], tmp_path, {})


# ---- what a DataValue is recorded as ---------------------------------------------------------------------------------

T = datetime(2026, 6, 21, 0, 0, 0, 250_000, tzinfo=UTC)
US = 1_782_000_000_250_000


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (ua.DataValue(ua.Variant(0.1, ua.VariantType.Float), SourceTimestamp=T), ("Float", "0.1", 0, US)),
        (ua.DataValue(ua.Variant(0.1, ua.VariantType.Double), SourceTimestamp=T), ("Double", "0.1", 0, US)),
        (ua.DataValue(ua.Variant(-7, ua.VariantType.Int64)), ("Int64", "-7", 0, None)),
        (ua.DataValue(ua.Variant(True, ua.VariantType.Boolean)), ("Boolean", "true", 0, None)),
        (ua.DataValue(ua.Variant("12.5", ua.VariantType.String)), ("String", '"12.5"', 0, None)),
        (ua.DataValue(ua.Variant([1.5], ua.VariantType.Double)), ("Double[]", "", 0, None)),
        (ua.DataValue(ua.Variant(T, ua.VariantType.DateTime)), ("DateTime", "", 0, None)),
        (ua.DataValue(ua.Variant(math.nan, ua.VariantType.Double)), ("Double", "NaN", 0, None)),
        (ua.DataValue(None, ua.StatusCode(0x808C0000)), ("Null", "", 0x808C0000, None)),
        (ua.DataValue(ua.Variant(), None), ("Null", "", 0, None)),
        (
            ua.DataValue(
                ua.Variant(1, ua.VariantType.Byte), SourceTimestamp=datetime(1601, 1, 1, tzinfo=UTC)
            ),
            ("Byte", "1", 0, None),
        ),
    ],
)
def test_a_data_value_is_recorded_exactly(value, recorded):
    assert notification("ns=2;s=P", value) == Notification("ns=2;s=P", *recorded)


# ---- with a server ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def telling(server, status=lambda: 0):
    """A meter that tells its two values each 50 ms, its power with the StatusCode of the moment."""

    async def tell():
        n = 0
        while True:
            at, n = today(), n + 1
            await server.tell("Press.Energy", 100 + n / 8, at)
            await server.tell("Press.Power", 1500.25, at, kind="Float", status=status())
            await asyncio.sleep(0.05)

    task = asyncio.get_running_loop().create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def agent_of(file):
    agent = Agent(replace(plan_of(prepare(file, today), log_key(file)), ballast=0), SystemClock())
    source = agent.pushed[0].source
    source.waits_s = (0.05,)
    return agent, source


async def stopped(agent, task):
    agent.stop()
    await asyncio.wait((task,))
    task.result()


def records(file):
    store = LogStore(file.data, file.site.site.origin, ballast=0)
    found = [decode(data) for _, data in store.entries(0)]
    store.close()
    return found


async def test_what_a_server_notifies_is_in_the_log_and_a_lost_server_is_a_gap(tmp_path):
    port = free_port()
    file = site(tmp_path, SITE.replace(":4840", f":{port}"))
    agent, source = agent_of(file)

    def instrument():
        return agent.status().instruments[0]

    task = asyncio.get_running_loop().create_task(agent.run())

    def status():  # each for two readings, however slowly they come
        return (0, 0x40930000, 0x808C0000)[instrument().received // 2 % 3] if source.connected else 0

    async with meter_server(port, NODES) as server, telling(server, status):
        await until(lambda: source.connected)
        await until(lambda: instrument().received >= 7)
    await until(lambda: not source.connected)
    before, missed = instrument().received, instrument().missed
    await until(lambda: instrument().missed > missed + 2)
    assert instrument().received == before, "no last value is told again"
    async with (
        meter_server(port, NODES, before=3) as server,
        telling(server),
    ):  # other numbers for its namespaces
        await until(lambda: instrument().received >= before + 2)
        await stopped(agent, task)
    found = records(file)
    readings = [r for r in found if isinstance(r, Reading)]
    slots = [(r.due_us + 250_000) // 500_000 for r in readings]
    assert slots == sorted(set(slots)), "one reading per period"
    good = [r for r in readings if "power.active.total" in r.indications]
    assert {r.indications["power.active.total"] for r in good} == {"1.50025"}
    assert all(Decimal(r.indications["energy.active.import"]) % Decimal("0.125") == 0 for r in readings)
    flagged = {flag: dict(r.missing) for r in readings for flag in r.flags if flag.startswith("status:")}
    assert flagged["status:power.active.total=40930000"] == {}, "uncertain: a value, and flagged"
    assert flagged["status:power.active.total=808C0000"] == {"power.active.total": "fault"}
    assert {r.reason for r in found if isinstance(r, Gap)} >= {"timeout"}
    for reading in readings:
        lines = [exchange.answer.decode() for exchange in reading.raw]
        stamps = [line.rstrip("\n").rpartition("\t")[2] for line in lines]
        newest = max(datetime.fromisoformat(stamp) for stamp in stamps)
        assert reading.due_us == (newest - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        assert all(line.startswith(f"nsu={URI};s=Press.") for line in lines)


async def test_a_node_that_tells_nothing_new_is_missing_and_a_number_of_any_size_ends_nothing(tmp_path):
    port = free_port()
    file = site(tmp_path, SITE.replace(":4840", f":{port}"))
    agent, source = agent_of(file)
    task = asyncio.get_running_loop().create_task(agent.run())
    extremes = (1e300, 5e-324, -1.7976931348623157e308, math.inf, math.nan)
    async with meter_server(port, NODES) as server:
        await until(lambda: source.connected)
        n = 0
        while agent.status().instruments[0].received < 3:
            await server.tell("Press.Energy", 100.125, today())  # the same value, of a newer time
            await asyncio.sleep(0.05)
        while agent.status().instruments[0].received < 7:
            n += 1
            await server.tell("Press.Energy", extremes[n // 10 % len(extremes)], today())
            await asyncio.sleep(0.05)
        await stopped(agent, task)
    assert agent.pushed[0].failures == 0
    readings = [r for r in records(file) if isinstance(r, Reading)]
    assert len(readings) >= 7
    assert {r.indications["energy.active.import"] for r in readings[:3]} == {"100.125"}
    assert all(r.missing["power.active.total"] == "timeout" for r in readings)


async def test_user_password_and_certificates_let_in_and_the_password_is_written_nowhere(
    tmp_path, certificates, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    port = free_port()
    (tmp_path / "password").write_text("s3cret-pass\n", "utf-8")
    lines = 'username = "me"\npassword_file = "password"\n' + in_directory(SECURITY, certificates)
    text = bus_with(lines).replace(":4840", f":{port}")
    file = site(tmp_path, text)
    agent, source = agent_of(file)
    users = Users("me", "s3cret-pass")
    files = certificates / "server.pem", certificates / "server.key"
    async with meter_server(port, NODES, users=users, files=files) as server, telling(server):
        assert await unheard(prepare(file, today)) == []
        task = asyncio.get_running_loop().create_task(agent.run())
        await until(lambda: source.connected)
        await until(lambda: agent.status().instruments[0].received >= 2)
        await stopped(agent, task)
        (tmp_path / "password").write_text("wrong\n", "utf-8")
        (problem,) = await unheard(prepare(file, today))
        assert "BadUserAccessDenied" in problem.message
        (tmp_path / "password").write_text("s3cret-pass\n", "utf-8")
        other = site(tmp_path, text.replace("server.pem", "stranger.pem"))
        monkeypatch.setattr(opcua_subscriber, "_TIMEOUT_S", 1.0)  # nothing answers whom it cannot understand
        (problem,) = await unheard(prepare(other, today))
        assert problem.code == "C118"
    assert "s3cret-pass" not in caplog.text
    data = b"".join(path.read_bytes() for path in file.data.rglob("*") if path.is_file())
    assert b"s3cret-pass" not in data
    assert source.counts.by_address.get("", {}) == {}


async def test_check_asks_each_node_once_and_names_those_that_are_not_there(tmp_path):
    port = free_port()
    text = SITE.replace(":4840", f":{port}").replace("s=Press.Power", "s=Press.Pwer")
    text += '\n[[bus.instrument]]\nid = "saw"\naddress = "urn:nobody:has:this"\naccuracy_class = "1"\n'
    text += 'rated_current = "5"\n[bus.instrument.value."voltage.l1"]\npath = "s=U"\nunit = "V"\n'
    prepared = prepare(site(tmp_path, text), today)
    (problem,) = await unheard(prepared)
    assert (problem.code, problem.key) == ("C118", "bus.0.port")
    async with meter_server(port, NODES) as server:
        await server.tell(
            "Press.Energy", 0.0, today(), status=0x808C0000
        )  # the plant's state is nobody's mistake
        found = await unheard(prepared)
    assert [(p.code, p.key, p.message) for p in found] == [
        (
            "C147",
            "bus.0.instrument.0.value.power.active.total",
            f"nsu={URI};s=Press.Pwer: BadNodeIdUnknown",
        ),
        (
            "C147",
            "bus.0.instrument.1.value.voltage.l1",
            "nsu=urn:nobody:has:this;s=U: the server has no namespace urn:nobody:has:this",
        ),
    ]


async def test_whatever_answers_at_the_port_is_a_lost_connection_and_no_more(tmp_path):
    async def mumble(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
        await reader.read(100)
        writer.close()

    listener = await asyncio.start_server(mumble, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        agent, source = agent_of(site(tmp_path, SITE.replace(":4840", f":{port}")))
        task = asyncio.get_running_loop().create_task(agent.run())
        await until(lambda: source.counts.by_address.get("", {}).get("link_down", 0) >= 2)
        await stopped(agent, task)
    assert agent.pushed[0].failures == 0, "the line's own task never failed"


def test_check_counts_instruments_that_send_by_themselves(tmp_path, capsys):
    site(tmp_path)
    assert main(["check", str(tmp_path / "site.toml"), "--no-ports"]) == 0
    said = capsys.readouterr().out
    assert "opc.tcp://127.0.0.1:4840/meters" in said
    assert "press" in said
    assert main(["check", str(tmp_path / "site.toml"), "--no-ports", "--json"]) == 0
    (bus,) = json.loads(capsys.readouterr().out)["buses"]
    assert (bus["name"], bus["share"], [i["id"] for i in bus["instruments"]]) == ("scada", None, ["press"])
