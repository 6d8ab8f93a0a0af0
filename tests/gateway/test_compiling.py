"""States compiled in a process of their own are the same states; what cannot be compiled is told in words."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from gateway.cli.simulated_site import write_demo
from gateway.compiling import StatesRefused, compile_apart
from gateway.config import SiteFile
from gateway.keys import create
from gateway.prepare import prepare
from gateway.prepared import Prepared

DAY = date(2026, 11, 24)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    key = create(tmp_path / "platform.key", "platform.example/receipts", receipts=True)
    return prepare(SiteFile(write_demo(tmp_path, 1, key.vkey)), lambda: datetime(2026, 11, 24, tzinfo=UTC))


def test_the_same_states_come_back(prepared: Prepared) -> None:
    apart = compile_apart(prepared, DAY)
    assert {name: state.digest for name, state in apart.items()} == {
        meter.config.id: meter.state.digest for meter in prepared.meters
    }


def test_only_what_changed_comes_back(prepared: Prepared) -> None:
    known = {meter.config.id: meter.state.digest for meter in prepared.meters}
    assert compile_apart(prepared, DAY, known) == {}
    changed = next(iter(known))
    assert set(compile_apart(prepared, DAY, {**known, changed: "0" * 64})) == {changed}


def test_a_site_file_edited_meanwhile_changes_nothing(prepared: Prepared) -> None:
    before = {name: state.digest for name, state in compile_apart(prepared, DAY).items()}
    prepared.file.path.write_text(prepared.file.path.read_text().replace('"400/5"', '"800/5"'))
    assert {name: state.digest for name, state in compile_apart(prepared, DAY).items()} == before


def test_a_file_that_is_wrong_now_is_told_with_its_line(prepared: Prepared) -> None:
    (prepared.file.directory / "certificates" / "wrong.toml").write_text('[[certificate]]\nid = "x"\n')
    with pytest.raises(StatesRefused, match=r"wrong\.toml:1"):
        compile_apart(prepared, DAY)


def test_two_hundred_meters_of_one_model_are_one_profile(prepared: Prepared) -> None:
    by_name = {}
    for meter in prepared.meters:
        alike = by_name.setdefault(meter.profile.name, [])
        alike += [meter.profile] if not any(meter.profile is one for one in alike) else []
    assert all(
        one != other
        for profiles in by_name.values()
        for n, one in enumerate(profiles)
        for other in profiles[:n]
    )
