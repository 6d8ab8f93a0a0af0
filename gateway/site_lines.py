"""The site file's sections on lines: each bus with its instruments, and how their places transform what they show."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from drivers import iec62056_reading
from gateway.edge import Duration, Exact, Id, Listed, Model
from gateway.site_values import Framing, Positive, Ratio, Told, UtcOffset

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
ProtocolName = Literal[AskedProtocol, "modbus-tcp", "hj212", "mqtt", "opcua"]
PUSHED = ("hj212", "mqtt", "opcua")
"""Protocols in which nobody is asked: instruments send by themselves."""
Basis = Literal["", "wet", "dry"]


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


class FreezeConfig(Model):
    """Who allowed that the meters of a line are ordered to freeze their registers, when, and how often it is done.

    ``clock``: how far off a meter's clock may be; ``pause``: how long the meters are given before they are asked.
    """

    period: Positive
    allowed_by: Told = Field(max_length=200)
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
    framing: Framing | None = None
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
    framing: Framing = "8E1"
    timeout: Positive = 1.0
    gap: Duration = 0.0
    retries: int = Field(default=1, ge=0, le=10)
    late: Positive | None = None  # pushed data: how long after it was due silence is a gap; None: one period
    utc_offset: UtcOffset = "+08:00"  # HJ 212: of the loggers' local time
    password: str = ""  # HJ 212: PW of loggers that have none of their own; MQTT: with ``username``
    username: str = ""
    password_file: str = ""  # OPC UA: the password of ``username``, in a file
    password_env: str = ""  # OPC UA: or in this variable of the environment
    freeze: FreezeConfig | None = None  # DL/T 645-2007: without it no order is ever sent
    security: SecurityConfig | None = None  # OPC UA: without it nothing is signed or encrypted
    instruments: Annotated[tuple[InstrumentConfig, ...], Listed] = Field(alias="instrument", min_length=1)
