"""The platform's file of gateways: read again when it changed, never half."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from central.registry import Registered, Registry, RegistryError, parse
from tests.evidence.logs import signer

A, B = (signer(f"platform.example/gw/{n}", n).verifier for n in (1, 2))


def test_lines_are_keys_suspended_or_not_with_comments():
    found = parse(f"# hall 1\n{A.vkey}  # north\n\nsuspended {B.vkey}\n")
    assert found == (Registered(A), Registered(B, active=False))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nonsense\n", ":1: not a vkey"),
        (f"\n{A.vkey} more\n", ":2: a line is a key"),
        (f"{A.vkey}\n{A.vkey}\n", ":2: .*twice"),
        (signer("p.example", 3).cosigner.vkey, "for receipts"),
    ],
)
def test_a_mistake_is_told_with_its_line(text, what):
    with pytest.raises(RegistryError, match=what):
        parse(text)


def test_changes_count_at_once_and_a_wrong_file_changes_nothing(tmp_path):
    path, told = tmp_path / "gateways", []
    registry = Registry(path, told.append)
    assert registry() == {}
    path.write_text(A.vkey + "\n")
    assert registry() == {A.name: A}
    registry.put(Registered(B))
    assert registry() == {A.name: A, B.name: B}
    registry.put(Registered(A, active=False))
    assert registry() == {B.name: B}
    path.write_text(path.read_text() + "nonsense\n")
    assert registry() == {B.name: B}
    assert "before holds" in told[0]


def test_comments_stay_and_another_key_for_an_origin_is_refused(tmp_path):
    path = tmp_path / "gateways"
    path.write_text(f"# hall 1\n{A.vkey}  # north\n")
    registry = Registry(path)
    registry.put(Registered(A, active=False))
    assert path.read_text() == f"# hall 1\nsuspended {A.vkey}  # north\n"
    other = signer(A.name, 9).verifier
    with pytest.raises(RegistryError, match="another key"):
        registry.put(Registered(other))


def test_a_newer_key_takes_the_older_ones_place_which_stays_to_be_seen(tmp_path):
    path = tmp_path / "gateways"
    path.write_text(f"# hall 1\nsuspended {A.vkey}  # north\n{B.vkey}\n")
    registry = Registry(path)
    newer = signer(A.name, 9).verifier
    registry.replace(A, newer, "2026-11-24")
    assert registry.gateways == (Registered(newer, active=False), Registered(B))
    assert registry.replaced(A.name) == (("2026-11-24", A),)
    assert registry.replaced(B.name) == ()
    with pytest.raises(RegistryError, match="is not in"):
        registry.replace(A, newer, "2026-11-25")
    assert registry.remove(A.name)
    assert not registry.remove(A.name)
    assert path.read_text() == f"# hall 1\n{B.vkey}\n"
    assert registry() == {B.name: B}


def test_two_processes_that_change_the_file_lose_nothing(tmp_path):
    keys = [signer(f"platform.example/gw/{n}", n).verifier for n in range(20)]
    registries = [Registry(tmp_path / "gateways") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(registries[n % 4].put, Registered(key)) for n, key in enumerate(keys)]:
            done.result()
    assert set(Registry(tmp_path / "gateways")()) == {key.name for key in keys}
