"""The site file: what the agent reads, how often, over which lines, and with which certificates.

TOML. Durations are text with a unit (``"500ms"``), exact numbers are text (``"0.12"``), framings are
text (``"8E1"``: without quotes TOML would read the number 80). Unknown keys are refused.
Relative paths are relative to the file.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from drivers import iec62056_reading
from gateway.edge import Duration, Exact, Id, Listed, Model, validated
from gateway.toml_source import ConfigError, Problem, TomlSource

AskedProtocol = Literal[
    "dlt645-2007",
    "dlt645-1997",
    "modbus-rtu",
    "modbus-ascii",
    "cjt188",
    "mbus",
    "iec62056-21",
    "iec62056-21-300",
    "iec62056-21-fixed",
    "dlt698",
    "dlms-hdlc",
    "dlms-wrapper",
]
ProtocolName = Literal[
    "dlt645-2007",
    "dlt645-1997",
    "modbus-rtu",
    "modbus-tcp",
    "modbus-ascii",
    "cjt188",
    "mbus",
    "iec62056-21",
    "iec62056-21-300",
    "iec62056-21-fixed",
    "dlt698",
    "dlms-hdlc",
    "dlms-wrapper",
    "hj212",
    "mqtt",
    "opcua",
]
PUSHED = ("hj212", "mqtt", "opcua")
"""Protocols in which nobody is asked: instruments send by themselves."""
Basis = Literal["", "wet", "dry"]

_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9.-]+(?:/[A-Za-z0-9._-]+)+", text):
        raise ValueError(
            "an origin is a domain and a path: platform.example/gw/0001 (no scheme, no '+', no spaces)"
        )
    return text


def _framing(text: str) -> str:
    if not re.fullmatch(r"[78][NEO][12]", text):
        raise ValueError(
            f'\'{text}\' is not a framing: data bits, parity, stop bits, for example "8E1" or "8N1"'
        )
    return text


def _listen(text: str) -> str:
    if (
        not re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}", text)
        or int(text.rpartition(":")[2]) > 65535
    ):
        raise ValueError("write host:port, for example 127.0.0.1:8475")
    return text


def offset_minutes(text: str) -> int:
    """Minutes ahead of UTC of ``"+08:00"``. Raises ValueError."""
    found = re.fullmatch(r"([+-])(\d{2}):(\d{2})", text)
    if not found or int(found[2]) > 14 or int(found[3]) > 59:
        raise ValueError(f"'{text}' is no offset from UTC: write for example \"+08:00\"")
    return (1 if found[1] == "+" else -1) * (60 * int(found[2]) + int(found[3]))


def _utc_offset(text: str) -> str:
    offset_minutes(text)
    return text


def ratio(text: str) -> Decimal:
    """The transformation ratio of ``"200/5"`` (= 40), exact. Raises ValueError."""
    found = _RATIO.fullmatch(text.strip())
    if not found or Decimal(found[2]) == 0:
        raise ValueError(f"'{text}' is not a ratio: write primary/secondary, for example \"200/5\"")
    return Decimal(found[1]) / Decimal(found[2])


def _checked_ratio(text: str) -> str:
    ratio(text)
    return text


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than 0")
    return value


Positive = Annotated[Duration, AfterValidator(_positive)]
Ratio = Annotated[str, AfterValidator(_checked_ratio)]


class SiteInfo(Model):
    """Who this gateway is: ``origin`` names its log for ever."""

    name: str = Field(min_length=1, max_length=200)
    origin: Annotated[str, AfterValidator(_origin)]
    data: str = "data"
    language: Literal["en", "zh"] = "zh"


def _push(text: str) -> str:
    if not re.fullmatch(
        r"(?:https?|mqtts?)://(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?(?:/[^\s?#]*)?", text
    ):
        raise ValueError(
            "write where the platform listens: https://host:port, or a broker: mqtts://host:port (no user in it)"
        )
    return text


def _door(text: str) -> str:
    if not re.fullmatch(r"https://(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?(?:/[^\s?#]*)?", text):
        raise ValueError("write where the platform enrols gateways: https://host:port")
    return text


class KeyConfig(Model):
    """Where the log's key is held: in a file, in a PKCS#11 token (module, label, file of the PIN), sealed by a TPM."""

    held: Literal["file", "pkcs11", "tpm"] = "file"
    module: str = ""
    token: str = ""
    pin_file: str = ""
    tcti: str = "device:/dev/tpmrm0"  # as tpm2-tools write it

    @model_validator(mode="after")
    def _whole(self) -> KeyConfig:
        if self.held == "pkcs11" and not (self.module and self.token and self.pin_file):
            raise ValueError(
                'a token needs module = "/usr/lib/…so", token = "its label" and pin_file = "a file"'
            )
        return self


class LogConfig(Model):
    """``commit`` is the loss window: what was read since the last commit can be lost with the power.

    ``keep``: entries that every platform has confirmed are deleted when they are older; without it all are kept.
    ``key_overlap``: how long checkpoints bear the signatures of both keys after a change of keys.
    ``next_key``: where the key is to be held after ``suyuan key rotate``, if not in the same kind of place.
    ``sm2``: checkpoints bear a second signature, by SM2 with SM3.
    """

    commit: Positive = 1.0
    checkpoint: Positive = 10.0
    checkpoint_entries: int = Field(default=256, ge=1, le=65536)
    aggregate: Positive = 60.0
    keep: Positive | None = None
    key: KeyConfig = KeyConfig()
    next_key: KeyConfig | None = None
    sm2: bool = False
    key_overlap: Duration = 30 * 86400.0

    @model_validator(mode="after")
    def _elsewhere(self) -> LogConfig:
        if self.next_key is not None and self.next_key.held == self.key.held:
            raise ValueError("next_key is for another kind of place than key; to stay there leave it out")
        return self


class ServeConfig(Model):
    """Where checkpoint and tiles are served; with ``certificate`` and ``private_key`` (PEM files) over HTTPS.

    ``clients``: only who shows a certificate of this authority gets in. ``enrolled``: all three are those that came
    with the enrolment.
    """

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8475"
    certificate: str | None = None
    private_key: str | None = None
    clients: str | None = None
    enrolled: bool = False


class EnrolmentConfig(Model):
    """Where certificates and the platform's policy come from: the platform's door at ``url``.

    ``ca``: a PEM file that vouches for it, brought by another way. ``addresses``: at which the gateway is reached, for
    its certificate. ``alarm``: how long before its end a certificate that was not renewed is an alarm.
    """

    url: Annotated[str, AfterValidator(_door)]
    ca: str | None = None
    addresses: Annotated[tuple[str, ...], Listed] = ()
    alarm: Positive = 14 * 86400.0


class Platform(Model):
    """A platform whose receipts are accepted: its vkey comes by another way than its data.

    Without ``key`` it is the key of the witness of this name in the policy that came with the enrolment.
    With ``push`` the gateway brings its log there (a platform that cannot reach it); without, the platform fetches it.
    ``ca``, ``certificate`` and ``private_key`` are PEM files; ``rate`` is the most bytes that are sent a second.
    """

    name: str
    key: str = ""
    push: Annotated[str, AfterValidator(_push)] | None = None
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    rate: int | None = Field(default=None, ge=500)
    username: str | None = None
    password_file: str | None = None
    mqtt: Literal["5", "3.1.1"] = "5"
    live: bool = True  # over MQTT: also the present values, on topics that promise nothing
    home_assistant: str | None = None  # the discovery prefix, if values are to appear there by themselves


class CalibrationConfig(Model):
    """Where certificates come from: files beside the site file, or a register, or both."""

    certificates: Annotated[tuple[str, ...], Listed] = ()
    register_file: str | None = Field(default=None, alias="register")


class InputConfig(Model):
    """What hangs on one input of a module: a transmitter (range and signal) or a meter that sends pulses."""

    measurand: str
    unit: str
    basis: Basis = ""
    transmitter: Id | None = None  # the instrument whose certificates hold for it
    range_low: Exact | None = None
    range_high: Exact | None = None
    pulse: Exact | None = None  # what one pulse stands for, in ``unit``
    # the signal, in the module's unit: the range's ends, and the limits after NAMUR NE 43
    signal_low: Exact = Decimal(4)
    signal_high: Exact = Decimal(20)
    under: Exact = Decimal("3.8")
    over: Exact = Decimal("20.5")
    fault_low: Exact = Decimal("3.6")
    fault_high: Exact = Decimal(21)


class FactorConfig(Model):
    """What a factor of HJ 212 is at this measuring point. ``measurand``: for a code that the profile does not have."""

    measurand: str = ""
    unit: str = ""
    basis: Basis = ""


class ValueConfig(Model):
    """Where a published message carries a measurand, or which node is it (OPC UA), and in which unit."""

    path: str = ""
    unit: str
    scale: Exact = Decimal(1)
    resolution: Exact | None = None
    modulus: Exact | None = None
    side: Literal["primary", "secondary"] = "secondary"
    basis: Basis = ""


class SecurityConfig(Model):
    """OPC UA: the policy, our certificate and key, and the server's certificate (files, PEM or DER)."""

    policy: Literal["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = "Basic256Sha256"
    mode: Literal["SignAndEncrypt", "Sign"] = "SignAndEncrypt"
    certificate: str
    private_key: str
    server_certificate: str


def _told(text: str) -> str:
    if not text.strip():
        raise ValueError("write who allowed it: a name and a post")
    return text


class FreezeConfig(Model):
    """Who allowed that the meters of a line are ordered to freeze their registers, when, and how often it is done.

    ``clock``: how far off a meter's clock may be; ``pause``: how long the meters are given before they are asked.
    """

    period: Positive
    allowed_by: Annotated[str, AfterValidator(_told)] = Field(max_length=200)
    allowed_on: date
    clock: Positive | None = None
    pause: Duration = 0.5


class SessionConfig(Model):
    """IEC 62056-21: a meter's times, where the standard's do not do.

    ``pause``: our reaction time (0.2 s; fast meters 20 ms); ``reply``: the meter's, at most (1.5 s); ``idle``: between
    two of its characters, at most (1.5 s); ``turn``: after the option select has left, before the rate changes (10 ms).
    ``read``: registers are read one by one with this command, in the programming mode, instead of the readout.
    """

    pause: Duration = iec62056_reading.PAUSE_S
    reply: Positive = iec62056_reading.REACTION_S
    idle: Positive = iec62056_reading.IDLE_S
    turn: Duration = iec62056_reading.TURN_S
    read: Literal["", "R1", "R5"] = ""


class InstrumentConfig(Model):
    """One meter on a bus, and how its place transforms what it indicates."""

    id: Id
    address: str
    profile: str = ""  # only MQTT and OPC UA do without
    period: Positive = 10.0
    refresh: Duration = 1.0  # how often the meter renews what it shows: most do each second
    serial: str = ""
    manufacturer: str = ""
    model: str = ""
    place: str = ""
    accuracy_class: str = ""
    rated_voltage: Exact | None = None
    rated_current: Exact | None = None
    maximum_current: Exact | None = None
    ct: Ratio | None = None
    ct_instrument: Id | None = None
    ct_class: str = ""
    pt: Ratio | None = None
    pt_instrument: Id | None = None
    pt_class: str = ""
    measurands: Annotated[tuple[str, ...] | None, Listed] = None
    register_resolution: Exact | None = None  # of its energy registers, where the profile's maker states none
    register_modulus: Exact | None = None  # where its energy registers begin again at 0
    timeout: Positive | None = None
    retries: int | None = Field(default=None, ge=0, le=10)
    longest_reply: Positive | None = None  # its maker's maximum reply delay: no answer is later than this
    protocol: AskedProtocol | None = None  # these three: where it does not speak as the rest of its line does
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    framing: Annotated[str, AfterValidator(_framing)] | None = None
    inputs: dict[str, InputConfig] = Field(default_factory=dict, alias="input")
    data: Literal["2011", "2051", "2061", "2031"] = "2011"  # HJ 212: which command's data this instrument is
    password: str = ""  # HJ 212: PW of its data logger
    password_file: str = ""  # DLMS: the password of an association with LLS, in a file of its own
    sm4_key_file: str = ""  # HJ 212-2025: the key of a logger that encrypts, in a file of its own
    factors: dict[str, FactorConfig] = Field(default_factory=dict, alias="factor")
    values: dict[str, ValueConfig] = Field(default_factory=dict, alias="value")
    session: SessionConfig | None = None  # IEC 62056-21: its times
    freeze: bool = True  # whether it takes part where its line is frozen by broadcast
    time: str = ""  # MQTT: where the message tells its time; empty: when it came


class BusConfig(Model):
    """A line that is shared by its instruments and owned by one task."""

    name: Id
    protocol: ProtocolName
    port: str = Field(min_length=1)
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    framing: Annotated[str, AfterValidator(_framing)] = "8E1"
    timeout: Positive = 1.0
    gap: Duration = 0.0
    retries: int = Field(default=1, ge=0, le=10)
    late: Positive | None = None  # pushed data: how long after it was due silence is a gap; None: one period
    utc_offset: Annotated[str, AfterValidator(_utc_offset)] = "+08:00"  # HJ 212: of the loggers' local time
    password: str = ""  # HJ 212: PW of loggers that have none of their own; MQTT: with ``username``
    username: str = ""
    password_file: str = ""  # OPC UA: the password of ``username``, in a file
    password_env: str = ""  # OPC UA: or in this variable of the environment
    freeze: FreezeConfig | None = None  # DL/T 645-2007: without it no order is ever sent
    security: SecurityConfig | None = None  # OPC UA: without it nothing is signed or encrypted
    instruments: Annotated[tuple[InstrumentConfig, ...], Listed] = Field(alias="instrument", min_length=1)


class SimulatedMeter(Model):
    """How the simulated meter behind one instrument differs from what the site file says of it."""

    preset: str = "mill"
    accuracy_class: str = ""
    rated_voltage: str = ""
    rated_current: str = ""
    maximum_current: str = ""
    ct_class: str = ""
    pt_class: str = ""
    number: str = ""
    phases: Literal[1, 3] = 3
    start: Exact = Decimal(0)
    step: Exact = Decimal("0.01")
    modulus: Exact = Decimal(1_000_000)
    refresh: Positive = 1.0
    flow: Exact = Decimal(2)  # m3/h on average: of water, gas and heat meters


class SimulatedLine(Model):
    """How a simulated line answers."""

    reply: Positive = 0.04
    echo: bool = False


class Simulation(Model):
    """What `suyuan sim` needs beyond the site itself: a seed, and the plant's shape."""

    seed: int = 1
    scenario: str = ""
    meters: dict[str, SimulatedMeter] = Field(default_factory=dict, alias="meter")
    lines: dict[str, SimulatedLine] = Field(default_factory=dict, alias="bus")


class Site(Model):
    """The whole site file."""

    site: SiteInfo
    log: LogConfig = LogConfig()
    serve: ServeConfig = ServeConfig()
    enrolment: EnrolmentConfig | None = None
    platforms: Annotated[tuple[Platform, ...], Listed] = Field(default=(), alias="platform")
    calibration: CalibrationConfig = CalibrationConfig()
    profiles: Annotated[tuple[str, ...], Listed] = ()
    buses: Annotated[tuple[BusConfig, ...], Listed] = Field(alias="bus", min_length=1)
    simulation: Simulation = Simulation()


class SiteFile:
    """A site with the text that it came from, so that what is found later still has its line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = TomlSource.read(path)
        self.site = validated(Site, self.source)
        problems = list(self._conflicts())
        if problems:
            raise ConfigError(problems)

    @property
    def directory(self) -> Path:
        """Relative paths start here."""
        return self.path.parent

    @property
    def data(self) -> Path:
        """The directory of the log and of the keys."""
        return self.directory / self.site.site.data

    def port(self, bus: BusConfig) -> str:
        """The bus's port; a relative device path is relative to the site file."""
        return bus.port if "://" in bus.port else str(self.directory / bus.port)

    def _unfit(
        self, bus: BusConfig, instrument: InstrumentConfig, place: tuple[str | int, ...]
    ) -> list[Problem]:
        """What an instrument states that its bus has no use for, or does not state that it needs."""
        found: list[Problem] = []
        if not instrument.profile and bus.protocol not in ("mqtt", "opcua"):
            found.append(
                self.source.problem((*place, "id"), "'profile' is missing", "add profile = …", "C104")
            )
        if bus.protocol in ("mqtt", "opcua") and not instrument.values and not instrument.profile:
            hint = '[bus.instrument.value."power.active.total"] with path and unit'
            found.append(self.source.problem((*place, "id"), "no values are named", hint, "C142"))
        if bus.protocol == "hj212" and not (instrument.password or bus.password):
            hint = 'add password = "…" (PW, six characters) to the bus or the instrument'
            found.append(
                self.source.problem((*place, "id"), "the logger's password is missing", hint, "C142")
            )
        spoken = instrument.protocol or bus.protocol
        if spoken == "dlms-wrapper" and not bus.port.startswith("tcp://"):
            key = (*place, "protocol") if instrument.protocol else (*place[:2], "protocol")
            hint = 'port = "tcp://192.168.1.20:4059"; on a serial line a meter speaks dlms-hdlc'
            found.append(self.source.problem(key, "dlms-wrapper is spoken over TCP only", hint, "C142"))
        if instrument.password_file and not spoken.startswith("dlms-"):
            message = f"'password_file' has no meaning for an instrument that speaks {spoken}"
            hint = "it is for dlms-hdlc and dlms-wrapper"
            found.append(self.source.problem((*place, "password_file"), message, hint, "C142"))
        if bus.port.startswith("tcp://") and (instrument.protocol or bus.protocol) == "iec62056-21":
            key = (*place, "protocol") if instrument.protocol else (*place[:2], "protocol")
            message = "a TCP converter keeps one rate, and iec62056-21 changes it within a session"
            hint = "iec62056-21-300 for a converter at 300 7E1, iec62056-21-fixed for a meter that keeps one rate"
            found.append(self.source.problem(key, message, hint, "C142"))
        spoken = instrument.protocol or bus.protocol
        if instrument.session is not None and not spoken.startswith("iec62056-21"):
            message = f"'session' has no meaning for a meter of {spoken}"
            found.append(self.source.problem((*place, "session"), message, "it is for iec62056-21", "C142"))
        for name, used, protocols in (
            ("sm4_key_file", instrument.sm4_key_file, ("hj212",)),
            ("factor", instrument.factors, ("hj212",)),
            ("value", instrument.values, ("mqtt", "opcua")),
            ("time", instrument.time, ("mqtt",)),
            ("input", instrument.inputs, ("modbus-rtu", "modbus-tcp", "modbus-ascii")),
        ):
            if used and bus.protocol not in protocols:
                message = f"'{name}' has no meaning on a bus of {bus.protocol}"
                hint = f"it is for {', '.join(protocols)}"
                found.append(self.source.problem((*place, name), message, hint, "C142"))
        return found

    def _unfit_bus(self, bus: BusConfig, place: tuple[str | int, ...]) -> list[Problem]:
        """What a bus states that its protocol has no use for."""
        return [
            self.source.problem(
                (*place, key), f"'{key}' has no meaning on a bus of {bus.protocol}", "it is for opcua", "C142"
            )
            for key in ("password_file", "password_env", "security")
            if getattr(bus, key) and bus.protocol != "opcua"
        ] + (
            [
                self.source.problem(
                    (*place, "freeze"),
                    f"'freeze' has no meaning on a bus of {bus.protocol}: instruments send by themselves there",
                    "",
                    "C142",
                )
            ]
            if bus.freeze is not None and bus.protocol in PUSHED
            else []
        )

    def _serving(self) -> list[Problem]:
        """What cannot be meant of how the log is served."""
        serve = self.site.serve

        def wrong(key: str, message: str, hint: str, code: str) -> list[Problem]:
            return [self.source.problem(("serve", key), message, hint, code)]

        if serve.enrolled:
            if self.site.enrolment is None:
                hint = "add [enrolment] with url = the platform's door for gateways"
                return wrong(
                    "enrolled", "there is no enrolment from which a certificate could come", hint, "C136"
                )
            given = [k for k in ("certificate", "private_key", "clients") if getattr(serve, k) is not None]
            if given:
                hint = "leave one of the two away"
                return wrong(
                    given[0], "the enrolment's certificate, or one of your own: not both", hint, "C134"
                )
            return []
        if (serve.certificate is None) != (serve.private_key is None):
            key = "certificate" if serve.certificate is not None else "private_key"
            message = "a certificate needs its private key, and the key its certificate"
            return wrong(key, message, "add the other one", "C134")
        if serve.clients is not None and serve.certificate is None:
            hint = "add certificate and private_key"
            return wrong("clients", "clients show certificates over HTTPS alone", hint, "C134")
        return []

    def _conflicts(self) -> list[Problem]:
        """Mistakes that no single value shows: two things that claim the same name, address or port."""
        found: list[Problem] = []
        names: dict[str, int] = {}
        ports: dict[str, str] = {}
        ids: dict[str, str] = {}
        for p, platform in enumerate(self.site.platforms):
            if any(other.name == platform.name for other in self.site.platforms[:p]):
                found.append(
                    self.source.problem(
                        ("platform", p, "name"),
                        f"platform '{platform.name}' is there twice",
                        "receipts are kept by the platform's name: give each its own",
                        "C133",
                    )
                )
            if not platform.key and self.site.enrolment is None:
                found.append(
                    self.source.problem(
                        ("platform", p, "name"),
                        f"platform '{platform.name}' has no key",
                        "add key = …, its vkey; or [enrolment] with url, and the key comes with the policy",
                        "C136",
                    )
                )
            if (platform.certificate is None) != (platform.private_key is None):
                found.append(
                    self.source.problem(
                        ("platform", p, "certificate" if platform.certificate else "private_key"),
                        "a client certificate needs its private key, and the key its certificate",
                        "add the other one",
                        "C134",
                    )
                )
        found += self._serving()
        for b, bus in enumerate(self.site.buses):
            if bus.name in names:
                found.append(
                    self.source.problem(
                        ("bus", b, "name"),
                        f"bus '{bus.name}' is there twice",
                        "give each bus a name of its own",
                        "C110",
                    )
                )
            names[bus.name] = b
            port = self.port(bus)
            if port in ports:
                message = f"port {bus.port} already belongs to bus '{ports[port]}'"
                found.append(
                    self.source.problem(
                        ("bus", b, "port"),
                        message,
                        "put the instruments of one line under one [[bus]]",
                        "C111",
                    )
                )
            ports[port] = bus.name
            found += self._unfit_bus(bus, ("bus", b))
            addresses: dict[str, str] = {}
            for i, instrument in enumerate(bus.instruments):
                place = ("bus", b, "instrument", i)
                if instrument.id in ids:
                    found.append(
                        self.source.problem(
                            (*place, "id"),
                            f"instrument '{instrument.id}' is there twice",
                            "an id names one instrument",
                            "C112",
                        )
                    )
                ids[instrument.id] = bus.name
                address = instrument.address.strip().lstrip("0") or "0"
                if bus.protocol == "hj212":  # one logger may send several kinds of data
                    address = f"{instrument.address.strip()} {instrument.data}"
                elif bus.protocol in ("mqtt", "opcua"):  # one message, or namespace, may hold several
                    address = f"{instrument.address} {instrument.id}"
                found += self._unfit(bus, instrument, place)
                if address in addresses:
                    owner = addresses[address]
                    message = f"address {instrument.address} on bus '{bus.name}' already belongs to '{owner}'"
                    found.append(
                        self.source.problem(
                            (*place, "address"),
                            message,
                            "two meters with one address answer at once: change one",
                            "C113",
                        )
                    )
                addresses[address] = instrument.id
                for kind in ("ct", "pt"):
                    if getattr(instrument, f"{kind}_instrument") and getattr(instrument, kind) is None:
                        message = f"'{kind}_instrument' needs '{kind}', its ratio"
                        found.append(
                            self.source.problem(
                                (*place, f"{kind}_instrument"), message, f'add {kind} = "200/5"', "C114"
                            )
                        )
        return found
