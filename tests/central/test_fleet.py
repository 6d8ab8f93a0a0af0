"""Gateways, a broker, front ends that take turns, PostgreSQL, in small: what is lost, what is twice, what is said."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from central.store import Store
from sim.ports import free_port
from tests.rigs import fleet, fleet_mqtt
from tests.rigs.broker import ABSENT, MOSQUITTO

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)


def test_one_of_two_front_ends_is_killed_amid_the_backlog_and_every_log_is_whole_and_acknowledged():
    told = fleet_mqtt.run(
        12, 2, 600, 20, fleet.processor_s, fleet.hold_against, kill=True, patience_us=500_000
    )
    assert told["round"]["readings"] > 0


def test_however_often_the_broker_dies_nobody_reads_a_trace(tmp_path):
    """Neither from the gateways nor from the front end; and the logs arrive."""
    count, size = 6, 1500
    fleet_mqtt.write_keys(tmp_path, count)
    with ExitStack() as stack:
        said = stack.enter_context((tmp_path / "gateways-said").open("w+", encoding="utf-8"))
        port = free_port()
        broker = stack.enter_context(fleet_mqtt.mosquitto(tmp_path, port))
        farm = stack.enter_context(
            fleet_mqtt.site(tmp_path / "gateways", port, count, [size], said=said, patience_us=500_000)
        )
        front = stack.enter_context(fleet_mqtt.front(tmp_path, None, port, 0))
        farm.go()
        for _ in range(3):
            farm.until_heard(1)  # something has come through since the last
            broker.send_signal(signal.SIGKILL)
            broker.wait(30)
            broker = stack.enter_context(fleet_mqtt.mosquitto(tmp_path, port))
        farm.until_acknowledged(count, size)
        broker.send_signal(signal.SIGKILL)
        broker.wait(30)
        assert front.end() == 0, front.words()
        farm.end()
        said.seek(0)
        words = front.words() + said.read()
    for sign in ("Traceback", "never retrieved", "Exception in"):
        assert sign not in words, words
    assert "again in" in words, "that the broker was away is said"
    with Store(tmp_path / "front-0") as store:
        for number in range(count):
            made = fleet_mqtt.writer(number).grow(size)
            (known,) = (g for g in store.gateways() if g.origin == made.origin)
            assert list(store.entries(known)) == made.entries
