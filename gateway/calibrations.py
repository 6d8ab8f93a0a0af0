"""Everything that a site's certificates say: files and register read, held together, compiled into states.

The site file says where a meter hangs; certificate files and the register say what it is and how it errs. What two
sources state differently is refused, not decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from calibration.certificate import Certificate, Instrument, InstrumentKind, TraceabilityError
from calibration.loop import Loop, looped
from calibration.state import CalibrationState, compile_state
from drivers.profile import Profile
from gateway.certificate_file import CertificateFile
from gateway.config import SiteFile
from gateway.site_lines import InstrumentConfig
from gateway.site_values import ratio
from gateway.toml_source import ConfigError, Problem

_IDENTITY = (
    "manufacturer",
    "model",
    "serial",
    "accuracy_class",
    "rated_voltage",
    "rated_current",
    "maximum_current",
    "place",
)


@dataclass(frozen=True)
class Calibrations:
    """The instruments and certificates of a site, from every source."""

    instruments: Mapping[str, Instrument]
    certificates: tuple[Certificate, ...]
    site: SiteFile
    _places: Mapping[str, tuple[str | int, ...]] = field(repr=False, default_factory=dict)

    @classmethod
    def read(cls, site: SiteFile, now: Callable[[], datetime]) -> Calibrations:
        """Read the certificate files and the register that the site names. ConfigError tells all problems."""
        problems: list[Problem] = []
        files = list(_certificate_files(site, problems))
        instruments: dict[str, Instrument] = {}
        certificates: dict[str, Certificate] = {}
        for file in files:
            _merge(file, instruments, certificates, problems)
        register = site.site.calibration.register_file
        if register is not None and not problems:
            _merge_register(site, register, now, instruments, certificates, problems)
        places: dict[str, tuple[str | int, ...]] = {}
        for b, bus in enumerate(site.site.buses):
            for i, config in enumerate(bus.instruments):
                places[config.id] = ("bus", b, "instrument", i)
                instruments[config.id] = _meter(
                    site, config, places[config.id], instruments.get(config.id), problems
                )
        known = {**instruments, **_transformers_of(site, instruments, problems)}
        problems += _unknown_transmitters(site, known)
        for file in files:
            for n, certificate in enumerate(file.certificates):
                if certificate.instrument not in known:
                    message = f"certificate '{certificate.id}' is for '{certificate.instrument}', which nobody knows"
                    hint = "name an instrument of the site file, or add an [[instrument]] table for it"
                    problems.append(
                        file.source.problem(("certificate", n, "instrument"), message, hint, "C127")
                    )
        if problems:
            raise ConfigError(problems)
        return cls(known, tuple(certificates.values()), site, places)

    def state(self, config: InstrumentConfig, profile: Profile, at: date) -> CalibrationState:
        """The state that corrects this meter at a date. ConfigError if its certificates cannot be used."""
        primary = [point.measurand for point in profile.points if point.side == "primary"]
        resolution = {
            point.measurand: point.resolution for point in profile.points if point.resolution is not None
        }
        transformers = [self.instruments[name] for name in transformer_ids(config)]
        try:
            state = compile_state(
                self.instruments[config.id],
                self.certificates,
                transformers,
                self._standards(),
                at=at,
                resolution=resolution,
                primary=primary,
            )
            return looped(state, self._loops(config, at)) if config.inputs else state
        except TraceabilityError as error:
            hint = "mend the certificate, or withdraw it"
            raise ConfigError(
                [self.site.source.problem((*self._places[config.id], "id"), str(error), hint, "C128")]
            ) from None

    def _loops(self, config: InstrumentConfig, at: date) -> dict[str, Loop]:
        """What hangs on a module's inputs, each with the state of its transmitter."""
        return {
            stated.measurand: Loop(
                f"input.{name}",
                None
                if stated.transmitter is None
                else compile_state(
                    self.instruments[stated.transmitter], self.certificates, (), self._standards(), at=at
                ),
                stated.range_low,
                stated.range_high,
                stated.signal_low,
                stated.signal_high,
            )
            for name, stated in config.inputs.items()
        }

    def _standards(self) -> Iterable[Certificate]:
        standards = {i.id for i in self.instruments.values() if i.kind is InstrumentKind.REFERENCE_STANDARD}
        return [certificate for certificate in self.certificates if certificate.instrument in standards]


def transformer_ids(config: InstrumentConfig) -> tuple[str, ...]:
    """The ids of the transformers that a meter stands behind, CT first; a nameless one is named after its meter."""
    return tuple(
        getattr(config, f"{kind}_instrument") or f"{config.id}.{kind}"
        for kind in ("ct", "pt")
        if getattr(config, kind) is not None
    )


def _unknown_transmitters(site: SiteFile, known: Mapping[str, Instrument]) -> Iterator[Problem]:
    for b, bus in enumerate(site.site.buses):
        for i, config in enumerate(bus.instruments):
            for name, stated in config.inputs.items():
                if stated.transmitter is not None and stated.transmitter not in known:
                    place = ("bus", b, "instrument", i, "input", name, "transmitter")
                    hint = "add an [[instrument]] table for it to a certificate file, or register it"
                    yield site.source.problem(
                        place, f"there is no instrument '{stated.transmitter}'", hint, "C127"
                    )


def _certificate_files(site: SiteFile, problems: list[Problem]) -> Iterator[CertificateFile]:
    seen: set[Path] = set()
    for n, pattern in enumerate(site.site.calibration.certificates):
        root = Path(site.directory.anchor) if Path(pattern).is_absolute() else site.directory
        relative = str(Path(pattern).relative_to(root)) if Path(pattern).is_absolute() else pattern
        paths = sorted(root.glob(relative))
        if not paths:
            place = ("calibration", "certificates", n)
            problems.append(
                site.source.problem(
                    place, f"no file matches '{pattern}'", "paths are relative to the site file", "C130"
                )
            )
        for path in paths:
            if path in seen:
                continue
            seen.add(path)
            try:
                yield CertificateFile(path)
            except ConfigError as error:
                problems.extend(error.problems)


def _merge(
    file: CertificateFile,
    instruments: dict[str, Instrument],
    certificates: dict[str, Certificate],
    problems: list[Problem],
) -> None:
    for n, instrument in enumerate(file.instruments):
        if instrument.id in instruments:
            problems.append(
                file.source.problem(
                    ("instrument", n, "id"),
                    f"instrument '{instrument.id}' is there twice",
                    "keep one",
                    "C129",
                )
            )
        instruments[instrument.id] = instrument
    for n, certificate in enumerate(file.certificates):
        if certificate.id in certificates:
            problems.append(
                file.source.problem(
                    ("certificate", n, "id"),
                    f"certificate '{certificate.id}' is there twice",
                    "keep one",
                    "C129",
                )
            )
        certificates[certificate.id] = certificate


def _merge_register(
    site: SiteFile,
    register: str,
    now: Callable[[], datetime],
    instruments: dict[str, Instrument],
    certificates: dict[str, Certificate],
    problems: list[Problem],
) -> None:
    from calibration.register import Register  # a site without one does not load SQLite's tools

    path = site.directory / register
    place = ("calibration", "register")
    if not path.exists():
        hint = "make it with `suyuan instrument add`, or remove the line"
        problems.append(site.source.problem(place, f"{path} does not exist", hint, "C102"))
        return
    with Register.open(path, now=now, read_only=True) as opened:
        for instrument in opened.instruments():
            if instrument.id in instruments:
                message = f"instrument '{instrument.id}' is in the register and in a certificate file"
                problems.append(site.source.problem(place, message, "keep it in one of the two", "C129"))
            instruments[instrument.id] = instrument
        for certificate in opened.certificates():
            if certificate.id in certificates:
                message = f"certificate '{certificate.id}' is in the register and in a certificate file"
                problems.append(site.source.problem(place, message, "keep it in one of the two", "C129"))
            certificates[certificate.id] = certificate


def _meter(
    site: SiteFile,
    config: InstrumentConfig,
    place: tuple[str | int, ...],
    known: Instrument | None,
    problems: list[Problem],
) -> Instrument:
    """The meter's identity: what the site file says and what is known of it, which must not contradict."""
    stated = {name: getattr(config, name) for name in _IDENTITY if getattr(config, name) not in ("", None)}
    if known is None:
        return Instrument(id=config.id, kind=InstrumentKind.METER, **stated)
    for name, value in stated.items():
        other = getattr(known, name)
        if other not in ("", None, value):
            message = f"'{config.id}' has {name} {value} here and {other} in its register or certificate file"
            problems.append(
                site.source.problem((*place, name), message, "one of the two is wrong: mend it", "C128")
            )
    return replace(
        known, **{name: value for name, value in stated.items() if getattr(known, name) in ("", None)}
    )


def _transformers_of(
    site: SiteFile, instruments: Mapping[str, Instrument], problems: list[Problem]
) -> dict[str, Instrument]:
    """The transformers that the site file names or implies."""
    found: dict[str, Instrument] = {}
    for b, bus in enumerate(site.site.buses):
        for i, config in enumerate(bus.instruments):
            for kind in ("ct", "pt"):
                text = getattr(config, kind)
                if text is None:
                    continue
                name = getattr(config, f"{kind}_instrument")
                place = ("bus", b, "instrument", i, f"{kind}_instrument")
                accuracy_class = getattr(config, f"{kind}_class")
                if name is None:
                    nameless = f"{config.id}.{kind}"
                    found[nameless] = Instrument(
                        id=nameless,
                        kind=InstrumentKind(kind),
                        accuracy_class=accuracy_class,
                        ratio=ratio(text),
                    )
                elif name not in instruments:
                    hint = "add an [[instrument]] table for it to a certificate file, or register it"
                    problems.append(
                        site.source.problem(place, f"there is no instrument '{name}'", hint, "C127")
                    )
                elif instruments[name].kind != kind:
                    message = f"'{name}' is of kind '{instruments[name].kind}', not '{kind}'"
                    problems.append(site.source.problem(place, message, "name the transformer", "C127"))
                elif instruments[name].ratio != ratio(text):
                    message = f"ratio {text} here, but '{name}' has {instruments[name].ratio}"
                    problems.append(
                        site.source.problem(
                            (*place[:-1], kind), message, "one of the two is wrong: mend it", "C128"
                        )
                    )
    return found
