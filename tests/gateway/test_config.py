"""A site file is understood whole or refused with file, line, column and what to do."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.certificate_file import CertificateFile
from gateway.config import SiteFile
from gateway.edge import seconds
from gateway.site_values import ratio
from gateway.toml_source import ConfigError, TomlSource

SITE = """\
# 现场
[site]
name = "铝厂"
origin = "platform.example/gw/0001"

[log]
commit = "1s"

[calibration]
certificates = ["certificates/*.toml"]

[[bus]]
name = "rs485-1"
protocol = "dlt645-2007"
port = "run/rs485-1"
baud = 9600
framing = "8E1"
timeout = "500ms"

[[bus.instrument]]
id = "potline-1"
address = "202611240001"
profile = "dlt645-2007-three-phase"
period = "1s"
ct = "200/5"

[[bus.instrument]]
id = "potline-2"
address = "202611240002"
profile = "dlt645-2007-three-phase"
"""


def site(tmp_path: Path, text: str) -> SiteFile:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return SiteFile(path)


def test_a_good_site_is_read(tmp_path: Path) -> None:
    read = site(tmp_path, SITE)
    bus = read.site.buses[0]
    assert (bus.timeout, bus.framing, bus.instruments[0].period) == (0.5, "8E1", 1.0)
    assert read.port(bus) == str(tmp_path / "run/rs485-1")
    assert read.data == tmp_path / "data"


MISTAKES = [
    ('name = "铝厂"', 'name = "铝厂"\nnmae = 1', 4, 1, "unknown key 'nmae'"),
    ('name = "铝厂"\n', "", 2, 2, "'name' is missing"),
    ('name = "铝厂"', "name = 7", 3, 8, "valid string"),
    ('name = "铝厂"', "name = 铝厂", 3, 8, "nvalid value"),
    ('origin = "platform.example/gw/0001"', 'origin = "https://platform.example"', 4, 10, "an origin is"),
    ('commit = "1s"', "commit = 1", 7, 10, "text with its unit"),
    ('commit = "1s"', 'commit = "soon"', 7, 10, "is not a duration"),
    ('commit = "1s"', 'commit = "0s"', 7, 10, "longer than 0"),
    ('protocol = "dlt645-2007"', 'protocol = "dlt645"', 14, 12, "dlt645-2007"),
    ("baud = 9600", 'baud = "9600"', 16, 8, "valid integer"),
    ("baud = 9600", "baud = 1", 16, 8, "greater than or equal to 300"),
    ('framing = "8E1"', "framing = 8E1", 17, 11, "valid string"),
    ('framing = "8E1"', 'framing = "8X1"', 17, 11, "not a framing"),
    ('address = "202611240002"', 'address = "202611240001"', 29, 11, "already belongs to 'potline-1'"),
    ('id = "potline-2"', 'id = "potline-1"', 28, 6, "is there twice"),
    ('id = "potline-2"', 'id = "pot line"', 28, 6, "an id is"),
    ('ct = "200/5"', 'ct = "40"', 25, 6, "is not a ratio"),
    ('ct = "200/5"', 'ct = "200/0"', 25, 6, "is not a ratio"),
    ('ct = "200/5"', 'pt_instrument = "pt-1"', 25, 17, "needs 'pt'"),
    ('ct = "200/5"', 'CT = "200/5"', 25, 1, "unknown key 'CT'"),
    ('[[bus.instrument]]\nid = "potline-2"', '[[bus]]\nid = "potline-2"', 27, 3, "is missing"),
    ("[calibration]", "[calibration", 9, 13, ""),
    ('name = "rs485-1"', 'name = "rs485-1"\nname = "b"', 14, 11, "overwrite"),
]


@pytest.mark.parametrize(("good", "bad", "line", "column", "says"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_each_mistake_is_told_at_its_place(
    tmp_path: Path, good: str, bad: str, line: int, column: int, says: str
) -> None:
    assert SITE.count(good) == 1
    with pytest.raises(ConfigError) as caught:
        site(tmp_path, SITE.replace(good, bad))
    places = [(p.line, p.column) for p in caught.value.problems]
    assert (line, column) in places, str(caught.value)
    assert says in str(caught.value)
    assert str(tmp_path / "site.toml") in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = (
        SITE.replace('commit = "1s"', "commit = 1")
        .replace("baud = 9600", 'baud = "x"')
        .replace('framing = "8E1"', "a = 1")
    )
    with pytest.raises(ConfigError) as caught:
        site(tmp_path, text)
    assert len(caught.value.problems) == 3


def test_an_unknown_key_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"known keys here: .*baud.*instrument.*timeout"):
        site(tmp_path, SITE.replace("baud = 9600", "bauds = 9600"))


def test_two_buses_cannot_claim_one_port(tmp_path: Path) -> None:
    second = (
        SITE[SITE.index("[[bus]]") :]
        .replace('rs485-1"\nprotocol', 'rs485-2"\nprotocol')
        .replace("potline", "mill")
    )
    with pytest.raises(ConfigError, match="already belongs to bus 'rs485-1'"):
        site(tmp_path, SITE + second)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = \x00", "名 = 1".encode("gb18030")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        SiteFile(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        SiteFile(tmp_path / "nowhere.toml")


def test_positions_count_characters_not_bytes() -> None:
    source = TomlSource('"铝" = { "厂 一" = [1, "二"] }\n', "x")
    assert source.position(("铝", "厂 一", 1)) == (1, 21)


def test_durations_and_ratios_are_exact() -> None:
    assert seconds("15min") == 900
    assert seconds("0.25s") == 0.25
    assert ratio("10000/100") == Decimal(100)


CERTIFICATE = """\
[[instrument]]
id = "ct-1"
kind = "ct"
ratio = "40"

[[certificate]]
id = "CAL-2026-01"
kind = "calibration"
instrument = "potline-1"
laboratory = "Regional institute"
performed = 2026-05-01
k = "2"

[[certificate.reference]]
standard = "std-1"
share = "0.01"

[[certificate.point]]
load = "5"
error = "0.12"
U = "0.10"

[[certificate.point]]
load = "5"
power_factor = "0.5"
correction = "0.05"
U = "0.12"
"""


def certificate(tmp_path: Path, text: str) -> CertificateFile:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return CertificateFile(path)


ANALYSER = """
[[instrument]]
id = "co2"
kind = "analyser"
mpe = "0.4"
mpe_unit = "%"
range_low = "0.0"
range_high = "20"
range_unit = "%"
[[certificate]]
id = "V-1"
kind = "verification"
instrument = "co2"
laboratory = "Institute"
performed = 2026-05-01
quantity = "concentration.co2"
unit = "%"
mpe = "0.020"
mpe_unit = "mg/m3"
"""


def test_span_and_permissible_error_come_with_their_units_exactly_as_written(tmp_path: Path) -> None:
    read = certificate(tmp_path, ANALYSER)
    (instrument,), (one,) = read.instruments, read.certificates
    assert (instrument.mpe, instrument.mpe_unit) == (Decimal("0.4"), "%")
    assert (str(instrument.range_low), instrument.range_high, instrument.range_unit) == (
        "0.0",
        Decimal(20),
        "%",
    )
    assert (str(one.mpe), one.mpe_unit) == ("0.020", "mg/m3")


def test_a_span_as_a_float_is_refused_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        certificate(tmp_path, ANALYSER.replace('range_high = "20"', "range_high = 20.5"))
    (problem,) = told.value.problems
    assert problem.line == ANALYSER.splitlines().index('range_high = "20"') + 1


def test_a_certificate_file_is_read_exactly(tmp_path: Path) -> None:
    read = certificate(tmp_path, CERTIFICATE)
    (one,) = read.certificates
    assert [p.error for p in one.points] == [
        Decimal("0.12"),
        Decimal("-0.05"),
    ]  # a correction is minus the error
    assert one.points[0].k == 2
    assert one.references[0].share == Decimal("0.01")
    assert read.instruments[0].ratio == 40


CERTIFICATE_MISTAKES = [
    ('k = "2"\n', "", 17, "without k"),
    ('k = "2"\n', 'k = "0"\n', 12, "greater than 0"),
    ("performed = 2026-05-01", "performed = 2026-05-01\nissued = 2026-04-01", 12, "before it was performed"),
    ('error = "0.12"\n', "", 18, "either 'error' or 'correction'"),
    ('error = "0.12"', "error = 0.12", 20, "does not stay exact"),
    ('error = "0.12"', 'error = "0,12"', 20, "is not a decimal number"),
    ('error = "0.12"', 'error = "NaN"', 20, "finite"),
    ('U = "0.10"', 'U = "0"', 21, "greater than 0"),
    ('power_factor = "0.5"\n', "", 23, "is there twice"),
    ('kind = "calibration"', 'kind = "verification"', 8, "neither class nor MPE"),
    ('laboratory = "Regional institute"\n', "", 6, "'laboratory' is missing"),
]


@pytest.mark.parametrize(
    ("good", "bad", "line", "says"), CERTIFICATE_MISTAKES, ids=[m[3] for m in CERTIFICATE_MISTAKES]
)
def test_a_bad_certificate_is_refused_at_its_place(
    tmp_path: Path, good: str, bad: str, line: int, says: str
) -> None:
    assert CERTIFICATE.count(good) == 1
    with pytest.raises(ConfigError) as caught:
        certificate(tmp_path, CERTIFICATE.replace(good, bad))
    assert says in str(caught.value)
    assert line in [p.line for p in caught.value.problems], str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "good"), [("iec62056-21", False), ("iec62056-21-300", True), ("iec62056-21-fixed", True)]
)
def test_a_converter_cannot_change_its_rate_within_a_session(
    tmp_path: Path, protocol: str, good: bool
) -> None:
    text = SITE.replace('"dlt645-2007"', f'"{protocol}"')
    port = next(line for line in text.splitlines() if line.startswith("port = "))
    text = text.replace(port, 'port = "tcp://127.0.0.1:4001"')
    if good:
        site(tmp_path, text)
        return
    with pytest.raises(ConfigError, match="keeps one rate"):
        site(tmp_path, text)
