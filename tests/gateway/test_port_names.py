"""A port whose name moves is told, with the name that stays."""

from pathlib import Path

import pytest

from gateway.clock import moment
from gateway.config import SiteFile
from gateway.port_names import lasting, moves
from gateway.prepare import prepare


@pytest.mark.parametrize(
    ("port", "told"),
    [
        ("/dev/ttyUSB0", True), ("/dev/ttyACM12", True), ("/dev/ttyS0", False), ("/dev/ttyAMA0", False),
        ("/dev/serial/by-id/usb-FTDI_FT232R_FT4QXE2L-if00-port0", False), ("tcp://10.0.0.7:502", False),
        ("/dev/suyuan/line-1", False),
    ],
)  # fmt: skip
def test_only_names_that_the_kernel_numbers_move(port: str, told: bool) -> None:
    assert moves(port) is told


def test_the_names_that_stay_are_those_of_the_same_adapter_ours_first(tmp_path: Path) -> None:
    for name in ("ttyUSB0", "ttyUSB1"):
        (tmp_path / name).touch()
    links = {
        "serial/by-id/usb-FTDI-if00": "ttyUSB1", "serial/by-path/at-1.2": "ttyUSB0",
        "serial/by-path/at-1.3": "ttyUSB1", "suyuan/line-1": "ttyUSB1",
    }  # fmt: skip
    for link, device in links.items():
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / device)
    found = lasting(str(tmp_path / "ttyUSB1"), tmp_path)
    assert [name.removeprefix(f"{tmp_path}/") for name in found] == [
        "suyuan/line-1", "serial/by-id/usb-FTDI-if00", "serial/by-path/at-1.3",
    ]  # fmt: skip
    assert lasting(str(tmp_path / "ttyUSB7"), tmp_path) == ()


@pytest.mark.parametrize(("language", "words"), [("en", "the name is another line's"), ("zh", "固定名称")])
def test_a_site_that_names_one_is_told_to_take_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, words: str
) -> None:
    monkeypatch.setenv("SUYUAN_LANG", language)
    (tmp_path / "site.toml").write_text(
        '[site]\nname = "Mill"\norigin = "platform.example/gw/1"\n[[bus]]\nname = "line"\n'
        'protocol = "modbus-rtu"\nport = "/dev/ttyUSB0"\n[[bus.instrument]]\nid = "meter-1"\naddress = "1"\n'
        'profile = "chint-dtsu666"\nperiod = "1s"\n',
        encoding="utf-8",
    )
    (warning,) = prepare(SiteFile(tmp_path / "site.toml"), moment).warnings
    assert warning.code == "C150"
    assert words in str(warning)
