"""`suyuan profiles`: listed, checked by their own exchanges, put in form."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.profile_format import formatted
from gateway.cli import main

SHIPPED = sorted(
    (file.name, file.read_text(encoding="utf-8"))
    for file in resources.files("drivers").joinpath("profiles").iterdir()
    if file.name.endswith(".toml")
)
RIGHT = dict(SHIPPED)["eastron-sdm630.toml"]


def test_all_profiles_that_are_shipped_keep_what_they_say(capsys) -> None:
    assert main(["profiles", "check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {f"{entry['name']}.toml" for entry in told} == dict(SHIPPED).keys()
    assert all(entry["exchanges"] and not entry["wrong"] for entry in told)


def test_a_profile_as_json_states_step_and_rollover_exactly_and_where_the_number_stands(capsys) -> None:
    assert main(["profiles", "dlt645-2007-three-phase", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    points = {point["measurand"]: point for point in one["points"]}
    energy, voltage = points["energy.active.import"], points["voltage.l1"]
    assert (energy["resolution"], energy["modulus"]) == ("0.01", "1000000")
    assert (voltage["resolution"], voltage["modulus"]) == ("0.1", None)
    assert one["number"] is None
    assert main(["profiles", "eastron-sdm630", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["number"] == "3:64512"
    assert main(["profiles", "eastron-sdm630"]) == 0
    assert "3:64512              the meter's number (u32): Eastron" in capsys.readouterr().out


def test_an_exchange_that_gives_something_else_is_told(tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.toml"
    vector = tomllib.loads(RIGHT)["vector"][0]
    measurand, value = next(iter(vector["expect"].items()))
    assert f'"{value}"' in RIGHT
    head, _, tail = RIGHT.rpartition(f'"{value}"')
    file.write_text(f'{head}"4711"{tail}')
    assert main(["profiles", "check", str(file)]) == 1
    told = capsys.readouterr()
    assert "wrong" in told.out
    assert "4711" in told.err
    assert measurand


@pytest.mark.parametrize(("name", "text"), SHIPPED)
def test_what_is_shipped_is_in_form(name: str, text: str) -> None:
    assert formatted(text) == text, name


UNTIDY = """protocol="modbus"
probe   = { point = "voltage.l1", plausible = ["40", "480"] }
[model]
maker   =   "Nobody = nobody"
name = 'x'   # why
note = \"\"\"
two  =  lines
   \"\"\"


# of the source
[source]
title="t"
list = [
   1,
   2
]

"""
TIDY = """protocol = "modbus"
probe = { point = "voltage.l1", plausible = ["40", "480"] }

[model]
maker = "Nobody = nobody"
name = 'x'   # why
note = \"\"\"
two  =  lines
   \"\"\"

# of the source
[source]
title = "t"
list = [
   1,
   2
]
"""


def test_a_file_is_put_in_form_and_says_the_same(tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(UNTIDY)
    assert main(["profiles", "fmt", "--check", str(file)]) == 1
    assert file.read_text() == UNTIDY
    assert main(["profiles", "fmt", str(file)]) == 0
    assert file.read_text() == TIDY
    assert main(["profiles", "fmt", "--check", str(file)]) == 0
    assert tomllib.loads(TIDY) == tomllib.loads(UNTIDY)
    capsys.readouterr()


@given(
    st.lists(st.sampled_from([*UNTIDY.splitlines(), "", "# c", "a.b = 1", 'k="]"', "[[point]]"]), max_size=12)
)
def test_form_never_changes_a_value_and_is_reached_at_once(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        meaning = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    form = formatted(text)
    assert tomllib.loads(form) == meaning
    assert formatted(form) == form


def test_wrong_use_is_told(tmp_path: Path, capsys) -> None:
    assert main(["profiles", "fmt"]) == 2
    assert main(["profiles", "--check"]) == 2
    (tmp_path / "bad.toml").write_text("a = ")
    assert main(["profiles", "fmt", str(tmp_path / "bad.toml")]) == 2
    assert "not TOML" in capsys.readouterr().err
