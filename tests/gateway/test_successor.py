"""A log begun in the place of one whose key was lost: on the gateway, and as the platform sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from central.collect import Collector
from central.store import Store
from evidence.record import Genesis, PreviousLog, decode
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.keyring import KeyRing
from gateway.receipts import PlatformKey
from gateway.successor import FILE, SuccessorError, begin, previous_log
from tests.central.both_stores import postgres_server, store  # noqa: F401 - fixtures
from tests.central.test_collect import clock, served, slept  # noqa: F401 - fixtures
from tests.evidence.logs import ORIGIN, Writer, signer
from tests.evidence.test_successor import HEAD, NEXT, OLD, successor
from tests.gateway.test_agent import PERIOD, Running, fast, until
from tests.rigs.agent_process import PLATFORM, plan
from tests.rigs.farm import Farm

RECEIPT = HEAD.signed_by(OLD.signer).cosigned_by(PLATFORM, 5).encode()
KNOWN = (PlatformKey("platform", PLATFORM.cosigner),)


def test_only_a_cosigned_head_of_another_log_is_continued_and_only_in_an_empty_place(tmp_path):
    data = tmp_path / "data"
    for origin, receipt, why in (
        (NEXT, b"nothing", "no cosigned checkpoint"),
        (ORIGIN, RECEIPT, "an origin of its own"),
        (NEXT, HEAD.signed_by(OLD.signer).encode(), "not cosigned"),
        (NEXT, HEAD.signed_by(OLD.signer).cosigned_by(signer("x", 3), 5).encode(), "not cosigned"),
    ):
        with pytest.raises(SuccessorError, match=why):
            begin(data, origin, receipt, KNOWN)
    assert previous_log(data) is None
    assert begin(data, NEXT, RECEIPT, KNOWN) == HEAD
    assert previous_log(data) == PreviousLog(ORIGIN, HEAD.size, HEAD.root)
    (data / "log.db").touch()
    with pytest.raises(SuccessorError, match="has a log already"):
        begin(data, NEXT, RECEIPT, KNOWN)
    (data / FILE).write_bytes(b"cut")
    with pytest.raises(SuccessorError, match="again"):
        previous_log(data)


async def test_the_first_entry_names_where_the_old_log_ended(tmp_path):
    begin(tmp_path, NEXT, RECEIPT, KNOWN)
    ring = KeyRing(tmp_path, NEXT)
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports), signer=ring.current().signer)
        made = replace(made, origin=NEXT, previous_log=previous_log(tmp_path))
        async with Running(Agent(made, SystemClock())) as agent:
            await until(lambda: agent.size > 3)
            first = decode(next(agent.store.entries(0, 1))[1])
    assert isinstance(first, Genesis)
    assert first.previous_log == PreviousLog(ORIGIN, HEAD.size, HEAD.root)


@pytest.mark.parametrize(
    ("changed", "alarm"),
    [({}, ""), ({"size": HEAD.size - 1}, "rollback"), ({"root": bytes(32)}, "fork"), ({"origin": "x"}, "")],
)
async def test_the_platform_compares_it_with_the_last_head_that_it_cosigned(
    changed, alarm, served, store, clock  # noqa: F811
):  # fmt: skip
    async def round_of(writer: Writer, kept: Store):
        served.contents = writer.files()
        collector = Collector(kept, served.url, writer.signer.verifier, clock, PLATFORM)
        try:
            return await collector.collect_once()
        finally:
            await collector.close()

    assert (await round_of(OLD, store)).ok
    outcome = await round_of(successor(**changed), store)
    assert outcome.alarm == alarm
    assert bool(outcome.size) is not bool(alarm), "what is doubtful is not stored"
