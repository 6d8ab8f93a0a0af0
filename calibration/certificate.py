"""Instruments, certificates and their points: the plain values that the register keeps.

Words after VIM (JCGM 200) and JJF 1001: a *calibration* (校准) certificate gives values with U and k; a
*verification* (检定) certificate gives a class or an MPE and a validity, no uncertainty. Quantities are exact
``Decimal``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class InstrumentKind(StrEnum):
    """What an instrument is."""

    METER = "meter"
    CT = "ct"
    PT = "pt"
    ANALYSER = "analyser"
    FLOW = "flow"
    TEMPERATURE = "temperature"
    PRESSURE = "pressure"
    ANALOGUE_INPUT = "analogue_input"
    REFERENCE_STANDARD = "reference_standard"
    OTHER = "other"


class CertificateKind(StrEnum):
    """Calibration gives values with uncertainty; verification gives conformity and validity."""

    CALIBRATION = "calibration"
    VERIFICATION = "verification"
    TEST = "test"


class GivenAs(StrEnum):
    """A certificate states either the error of indication (示值误差) or the correction (修正值 = -error)."""

    ERROR = "error"
    CORRECTION = "correction"


class TraceabilityError(ValueError):
    """A certificate or chain that cannot be used as it stands: the metrologist must act.

    ``code`` is stable; ``text("zh")`` says the same in Chinese where the code has words
    (``calibration.words``).
    """

    code: str = "T000"

    def text(self, language: str = "en") -> str:  # noqa: ARG002 - subclasses with words speak both languages
        """What is wrong, where, and what to do."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A measuring instrument (VIM 3.1) with its metrological identity.

    ``accuracy_class`` is the maker's ("0.5S", "1", "0.2"); ``mpe`` (with its unit) overrides what the class
    implies. ``ratio`` is primary over secondary for a CT or PT ("4000" for 20 000/5). ``parent`` is the id
    of the instrument that this one stands behind (a meter behind its CT).
    """

    id: str
    kind: InstrumentKind = InstrumentKind.METER
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    tag: str = ""
    accuracy_class: str = ""
    mpe: Decimal | None = None
    mpe_unit: str = "%"
    rated_voltage: Decimal | None = None  # V, secondary side, phase to neutral
    rated_current: Decimal | None = None  # A, secondary side: In, or Ib of a direct-connected meter
    maximum_current: Decimal | None = None  # A, secondary side: Imax
    ratio: Decimal = Decimal(1)
    range_low: Decimal | None = None
    range_high: Decimal | None = None
    range_unit: str = ""
    place: str = ""
    owner: str = ""
    parent: str = ""
    interval_months: int | None = None  # the agreed interval (确认间隔); None: as certified
    lead_days: int | None = None  # first alert this many days before due; None: the policy's
    note: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """One point of a calibration certificate.

    ``quantity`` says which family of measurands the point speaks of: ``energy.active`` (also used for active
    power), ``energy.reactive``, ``voltage``, ``current``, ``power_factor``, ``frequency``, ``ratio`` (CT/PT
    ratio error), ``phase`` (CT/PT phase displacement), or any measurand's name.
    ``error`` is the error of indication (indication minus reference) in ``unit``: ``%`` is relative to the
    reference value; ``min`` (minutes of arc) is used for phase. ``U`` is expanded, in the same unit, with
    its own ``k``. ``load`` is the operating point along the curve in ``load_unit`` (``A`` for meters and
    CTs, the quantity's own unit for others); ``power_factor`` is signed: positive inductive, negative
    capacitive, 1 for unity.
    """

    quantity: str
    load: Decimal
    load_unit: str
    error: Decimal
    U: Decimal
    k: Decimal
    unit: str = "%"
    power_factor: Decimal = Decimal(1)
    reference: Decimal | None = None
    indication: Decimal | None = None
    dof: Decimal | None = None  # None: large


@dataclass(frozen=True, slots=True)
class ReferenceUse:
    """The reference standard that a calibration used: the edge upward in the traceability chain.

    ``share`` is the standard uncertainty that this standard contributes to each point, in the points' unit
    (from its own certificate, at the lab's use); None: the split is unknown, and both bounds are kept.
    """

    standard: str  # instrument id of the reference standard
    certificate: str = ""  # the certificate of that standard which was in force
    digest: str = ""  # SHA-256 of that certificate, where the child certificate states it
    share: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of calibration or verification for one instrument."""

    id: str
    kind: CertificateKind
    instrument: str
    laboratory: str
    performed: date
    issued: date | None = None
    # verification: validity; calibration: the recalibration date agreed, if any
    valid_until: date | None = None
    accreditation: str = ""
    points: tuple[CalibrationPoint, ...] = ()
    as_found: tuple[CalibrationPoint, ...] = ()
    references: tuple[ReferenceUse, ...] = ()
    passed: bool | None = None
    accuracy_class: str = ""
    mpe: Decimal | None = None
    mpe_unit: str = "%"
    national: bool = False  # issued by a national metrology institute (CMC in the KCDB): an end of the chain
    conditions: dict[str, str] = field(default_factory=dict)
    digest: str = ""  # SHA-256 of the paper or file, hex
    # how the paper prints it; ``points`` always hold the error of indication
    given_as: GivenAs = GivenAs.ERROR
    resets_cycle: bool = True  # False: an ad-hoc calibration that does not move the due date
    # adjusted (or repaired) between ``as_found`` and ``points``; None: not stated
    adjusted: bool | None = None
    decision_rule: str = ""  # of a statement of conformity: "simple", "guard-band", … (ISO/IEC 17025 7.8.6)
    note: str = ""


class SignatureVerdict(StrEnum):
    """What can be said of the signature of a digital certificate."""

    VALID = "valid"  # the bytes are the signer's, and the signer chains to the pinned trust store
    UNTRUSTED = "untrusted"  # the bytes are the signer's; nobody vouches for the signer
    INVALID = "invalid"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """The outcome of one check of a certificate's signature; it stays what it was when the signer expires.

    ``basis`` says what the moment ``at`` rests on: ``received`` (our own clock at receipt) or
    ``signing_time`` (the signer's claim). ``chain`` holds the subjects from the signer up. Revocation is not
    looked up: ``revocation`` says so.
    """

    verdict: SignatureVerdict
    reason: str = ""
    basis: str = ""
    at: datetime | None = None
    signed_at: datetime | None = None  # the signer's own claim
    signer: str = ""
    chain: tuple[str, ...] = ()
    revocation: str = "not checked"
