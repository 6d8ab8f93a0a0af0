"""Whatever a gateway is told on its way back, only what the platform has stored and signed for counts as delivered."""

from __future__ import annotations

import pytest

from gateway import push
from gateway.log_tables import StoredReceipt
from gateway.receipts import Receipts
from tests.evidence.logs import START_US
from tests.rigs import false_answers


def escaped(found):
    return [line for tally in found.values() for line in tally.escaped]


SHORT = {
    "pull": ("redirect", "login page", "a byte each half minute", "bundles in another order",
             "receipt swallowed, 204", "receipt swallowed, 200", "handed in: receipt of a former log"),
    "push": ("entries: swallowed, 200", "entries: login page, 422", "entries: old receipt, its lines",
             "entries: truncated receipt", "entries: a byte each half minute", "checkpoint: swallowed, 200"),
    "mqtt": ("old receipt", "another gateway's receipt", "receipt for more than the log holds", "begin again"),
}  # fmt: skip


@pytest.mark.parametrize("way", SHORT)
async def test_no_false_answer_counts_as_delivery_and_each_is_named_in_words(way):
    """Short form of ``make mutation``'s third campaign."""
    found = await false_answers.campaign(seed=3, each=1, ways=(way,), kinds=SHORT[way])
    assert escaped(found) == []
    assert len(found) == len(SHORT[way])
    assert sum(tally.told for tally in found.values()) >= len(found) - 1, "all but one are told in words"


async def test_a_gateway_that_believes_every_receipt_is_found_out(monkeypatch):
    def believing(self, data):
        receipt = StoredReceipt("platform", self._store.size, self._store.root, START_US, data)
        self._store.add_receipt(receipt)
        self._newest = self._store.receipts()
        return receipt

    monkeypatch.setattr(Receipts, "take", believing)
    found = await false_answers.campaign(seed=3, each=1, ways=("push",), kinds=("entries: swallowed, 200",))
    assert any("count as delivered" in line for line in escaped(found))


async def test_a_gateway_that_says_nothing_fitting_is_found_out(monkeypatch):
    monkeypatch.setattr(push, "_of_another", lambda *_: "")
    found = await false_answers.campaign(seed=3, each=1, ways=("push",), kinds=("entries: login page",))
    assert any("said:" in line for line in escaped(found))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
async def test_a_thousand_false_answers(seed):
    found = await false_answers.campaign(seed=seed, each=6)
    assert escaped(found) == []
