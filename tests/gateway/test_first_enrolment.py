"""An agent that runs while its gateway is enrolled first goes on with certificate and platforms' keys."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from gateway import watches
from tests.gateway.test_renewal import World


async def test_what_follows_has_the_platforms_key_that_was_not_known_before(tmp_path, monkeypatch):
    monkeypatch.setattr(watches, "WATCH_EVERY_S", 0.01)
    world = World(tmp_path)
    assert watches.prepare(world.site, world.now).receivers == ()
    waiting = asyncio.ensure_future(watches.first_enrolment(world.site, SimpleNamespace(begun=True)))
    done, _ = await asyncio.wait((waiting,), timeout=0.05)
    assert not done, "it is not enrolled yet"
    await asyncio.to_thread(world.enrol)
    following = await waiting
    assert [key.name for key in following.receivers] == ["platform.example/receipts"]


async def test_a_site_that_is_wrong_by_now_stops_no_measurement_and_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(watches, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(watches, "AGAIN_S", 0.01)
    world = World(tmp_path)
    await asyncio.to_thread(world.enrol)
    policy = world.enrolment.directory / "policy"
    right = policy.read_text()
    policy.write_text("nonsense\n")
    waiting = asyncio.ensure_future(watches.first_enrolment(world.site, SimpleNamespace(begun=True)))
    done, _ = await asyncio.wait((waiting,), timeout=0.1)
    assert not done
    policy.write_text(right)
    assert (await waiting).receivers
