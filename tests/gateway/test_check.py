"""`suyuan check` refuses what cannot work, names its place, says what to do, and starts nothing."""

import json
import socket
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.keyring import KeyRing

SITE = """\
[site]
name = "Mill"
origin = "platform.example/gw/0001"

[calibration]
certificates = ["certificates/*.toml"]

[[bus]]
name = "lan"
protocol = "modbus-tcp"
port = "tcp://127.0.0.1:{port}"

[[bus.instrument]]
id = "carding"
address = "1"
profile = "eastron-sdm630"
period = "1s"
accuracy_class = "1"
rated_current = "5"
ct = "200/5"
ct_instrument = "carding-ct"
"""

PAPERS = """\
[[instrument]]
id = "carding-ct"
kind = "ct"
ratio = "40"
accuracy_class = "0.5"

[[certificate]]
id = "CAL-1"
kind = "calibration"
instrument = "carding"
laboratory = "Lab"
performed = 2026-05-01
k = "2"

[[certificate.point]]
load = "5"
error = "0.12"
U = "0.10"
"""


@pytest.fixture
def site(tmp_path: Path):
    """A site whose one port answers; the test changes a text and asks again."""
    (tmp_path / "certificates").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def write(good: str = "", bad: str = "", papers: bool = False) -> str:
            site_text, papers_text = SITE.format(port=port), PAPERS
            if good:
                assert (papers_text if papers else site_text).count(good) == 1, good
            if papers:
                papers_text = papers_text.replace(good, bad)
            elif good:
                site_text = site_text.replace(good, bad)
            (tmp_path / "site.toml").write_text(site_text, encoding="utf-8")
            (tmp_path / "certificates" / "carding.toml").write_text(papers_text, encoding="utf-8")
            return str(tmp_path / "site.toml")

        yield write


def problems(path: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["check", path, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    return told["problems"]


def test_a_good_site_passes_and_nothing_is_started(site, tmp_path: Path, capsys) -> None:
    assert main(["check", site(), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (bus,) = told["buses"]
    assert bus["instruments"][0]["certificates"] == ["CAL-1"]
    assert len(bus["instruments"][0]["state"]) == 64
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "certificates",
        "site.toml",
    ]  # no data directory, no key


MISTAKES = [
    ("eastron-sdm630", "eastron-sdm360", False, "C115", 16, "eastron-sdm360"),
    ("eastron-sdm630", "dlt645-2007-three-phase", False, "C115", 16, "speaks dlt645-2007"),
    ('address = "1"', 'address = "0x01"', False, "C117", 15, "no Modbus unit"),
    ('address = "1"', 'address = "300"', False, "C117", 15, "300"),
    (
        'period = "1s"',
        'period = "1s"\nmeasurands = ["energy.active.imprt"]',
        False,
        "C116",
        18,
        "energy.active.import",
    ),
    ('ct = "200/5"', 'ct = "400/5"', False, "C128", 20, "one of the two is wrong"),
    ('ct_instrument = "carding-ct"', 'ct_instrument = "ct-9"', False, "C127", 21, "no instrument 'ct-9'"),
    ('ct_instrument = "carding-ct"', 'ct_instrument = "carding"', False, "C127", 21, "of kind 'meter'"),
    ("certificates/*.toml", "papers/*.toml", False, "C130", 6, "no file matches"),
    (
        '[[bus]]\nname = "lan"',
        '[[platform]]\nname = "centre"\nkey = "abc"\n\n[[bus]]\nname = "lan"',
        False,
        "C131",
        10,
        "no vkey",
    ),
    ('k = "2"\n', "", True, "C123", 14, "never assumed"),
    ('instrument = "carding"', 'instrument = "cardin"', True, "C127", 10, "nobody knows"),
    ('kind = "ct"', 'kind = "cct"', True, "C105", 3, "ct"),
    ("[[certificate]]", "[[certificate]", True, "C101", 7, ""),
]


@pytest.mark.parametrize(
    ("good", "bad", "papers", "code", "line", "says"), MISTAKES, ids=[m[5] or m[1] for m in MISTAKES]
)
def test_each_mistake_has_its_code_line_and_words(
    site, capsys, good: str, bad: str, papers: bool, code: str, line: int, says: str
) -> None:
    found = problems(site(good, bad, papers), capsys)
    (problem,) = [p for p in found if p["code"] == code]
    assert problem["line"] == line
    assert says in f"{problem['message']} {problem['hint']}"
    assert str(problem["file"]).endswith("carding.toml" if papers else "site.toml")


def test_a_port_that_does_not_answer_is_refused(site, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    (problem,) = problems(_at(site, port), capsys)
    assert problem["code"] == "C118"
    assert problem["line"] == 11


def _at(site, port: int) -> str:
    path = Path(site())
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(
        "".join(f'port = "tcp://127.0.0.1:{port}"\n' if "tcp://" in line else line for line in lines)
    )
    return str(path)


def test_a_serial_port_that_does_not_exist_is_refused(site, capsys) -> None:
    path = Path(site())
    text = path.read_text(encoding="utf-8").replace("modbus-tcp", "modbus-rtu")
    path.write_text(
        "".join(
            'port = "no-such-port"\n' if "tcp://" in line else line for line in text.splitlines(keepends=True)
        )
    )
    (problem,) = problems(str(path), capsys)
    assert (problem["code"], problem["line"]) == ("C118", 11)
    assert "no-such-port" in str(problem["message"])


def test_a_schedule_that_the_line_has_no_time_for_is_refused(site, capsys) -> None:
    path = Path(site('period = "1s"', 'period = "50ms"'))
    lines = path.read_text(encoding="utf-8").replace("modbus-tcp", "modbus-rtu").splitlines(keepends=True)
    path.write_text("".join('port = "ttyUSB0"\n' if "tcp://" in line else line for line in lines))
    assert main(["check", str(path), "--no-ports", "--json"]) == 2
    assert [p["code"] for p in json.loads(capsys.readouterr().out)["problems"]] == ["C119"]


def test_run_starts_nothing_on_a_bad_site(site, tmp_path: Path, capsys) -> None:
    assert main(["run", site('address = "1"', 'address = "300"')]) == 2
    assert "site.toml:15:11" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["certificates", "site.toml"]


def test_the_schema_for_editors_is_json_schema(capsys) -> None:
    assert main(["check", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    assert "bus" in schema["properties"]


@pytest.fixture
def begun(site, tmp_path: Path) -> tuple[str, Path]:
    """A site whose log has begun: its key and its log lie in the data directory."""
    path = site()
    ring = KeyRing(tmp_path / "data", "platform.example/gw/0001")
    ring.current()
    (tmp_path / "data" / "log.db").touch()
    return path, ring.path


def test_a_log_and_its_key_pass(begun) -> None:
    assert main(["check", begun[0]]) == 0


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (lambda key: key.write_text("garbage\n"), "is no key file, but the log is there"),
        (lambda key: key.write_bytes(b"\xff\xfe"), "is no key file, but the log is there"),
        (lambda key: key.write_text('{"held": "nowhere"}'), "is no key file, but the log is there"),
        (lambda key: key.unlink(), "is not there, but the log is"),
        (lambda key: key.chmod(0o644), "others may read it"),
        (lambda key: key.write_text(key.read_text().replace("gw/0001", "gw/0002", 1)), "is no key file"),
    ],
)
def test_a_key_that_cannot_sign_the_log_is_told_with_the_way_on_and_not_replaced(
    begun, capsys, spoilt, why
) -> None:
    path, key = begun
    spoilt(key)
    before = sorted(key.parent.iterdir()), key.exists() and key.read_bytes()
    (told,) = problems(path, capsys)
    assert told["code"] == "C151"
    assert why in str(told["message"])
    if "others" not in why:
        assert "suyuan key successor" in str(told["message"])
    assert "key new" not in str(told["message"])
    assert (sorted(key.parent.iterdir()), key.exists() and key.read_bytes()) == before
    assert main(["run", path]) == 2
    assert "key new" not in capsys.readouterr().err, "which makes a key that no entry of the log names"


def test_a_broken_key_is_told_in_chinese(begun, capsys, monkeypatch) -> None:
    path, key = begun
    key.write_text("garbage\n")
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    assert main(["check", path]) == 2
    assert "不是密钥文件，但日志存在：请从备份放回密钥" in capsys.readouterr().err


def test_a_broken_key_without_a_log_may_go(begun, capsys) -> None:
    path, key = begun
    key.write_text("garbage\n")
    (key.parent / "log.db").unlink()
    (told,) = problems(path, capsys)
    assert "move it away; the start makes one" in str(told["message"])
