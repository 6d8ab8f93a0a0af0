"""What somebody changes on the way between a gateway and its platform is refused with its cause, and costs nothing."""

from __future__ import annotations

import pytest

from tests.rigs import live_mutations

EDITED = ("digit of a value changed",)


async def test_what_is_changed_on_the_way_is_refused_and_the_honest_gateway_goes_on():
    """Short form of ``make mutation``'s second campaign."""
    found = await live_mutations.campaign(seed=3, each=1, flips=2, edits=EDITED)
    assert {way for way, _ in found} == set(live_mutations.WAYS)
    assert [line for tally in found.values() for line in tally.escaped] == []
    for tally in found.values():
        assert tally.tried == sum(tally.causes.values()) + sum(tally.same.values())
    told = {cause for tally in found.values() for cause in tally.causes}
    assert {"signature", "fork", "rollback", "root", "origin", "receipt"} <= told


async def test_a_platform_that_believes_every_package_lets_changes_escape(monkeypatch):
    monkeypatch.setattr("central.intake.check_subtree", lambda *_: True)
    found = await live_mutations.campaign(seed=3, each=1, flips=1, edits=EDITED, ways=("push",))
    escaped = [line for tally in found.values() for line in tally.escaped]
    assert any("held: True" in line for line in escaped), "whoever is between had the honest gateway held"


async def test_a_platform_that_stores_what_it_did_not_compare_lets_changes_escape(monkeypatch):
    monkeypatch.setattr("central.collect._Pull._belongs", believing)
    found = await live_mutations.campaign(seed=3, each=1, flips=1, edits=EDITED, ways=("pull",))
    escaped = [line for tally in found.values() for line in tally.escaped]
    assert any("not the true log" in line for line in escaped)


async def test_a_change_that_is_refused_for_another_cause_than_its_own_is_no_catch(monkeypatch):
    monkeypatch.setitem(live_mutations.CAUGHT["push"], "another gateway's both", frozenset({"root"}))
    found = await live_mutations.campaign(seed=3, each=2, flips=1, edits=(), ways=("push",))
    escaped = {kind: tally.escaped for (_, kind), tally in found.items() if tally.escaped}
    assert "refused for another cause than its own" in escaped["another gateway's both"][0]


async def believing(*_):
    """In place of the comparison with the signed root."""


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_two_thousand_changes_on_the_way():
    found = await live_mutations.campaign(seed=1, each=20)
    assert sum(tally.tried for tally in found.values()) > 2000
    assert [line for tally in found.values() for line in tally.escaped] == []
