"""Which faults the meters of each protocol can be ordered to have, and why not the others.

A fault that a protocol does not know is refused when the scenario is loaded: a scenario that orders it would seem to
have been gone through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sim.faults import FaultKind, Scenario, ScenarioError

_CONNECTION: Mapping[FaultKind, str] = MappingProxyType(
    {
        FaultKind.WRONG_TRANSACTION: "only Modbus TCP numbers its transactions",
        FaultKind.FALSE_LENGTH: "only Modbus TCP has an MBAP header; order wrong_length or wrong_checksum",
        FaultKind.STALE_ANSWER: "only a Modbus TCP answer says by its number to which request it belongs; order late",
        FaultKind.CONNECTION_RESET: "a serial line has no connection to be reset",
        FaultKind.HALF_OPEN: "a serial line has no connection to be half open; order dead",
    }
)
_TCP: Mapping[FaultKind, str] = MappingProxyType(
    {
        FaultKind.WRONG_CHECKSUM: "Modbus TCP has no checksum, TCP guards the bytes; order false_length",
        FaultKind.ECHO: "a TCP connection has no echo",
        FaultKind.BAUD_MISMATCH: "a TCP meter has no baud",
    }
)
_ASKED: Mapping[FaultKind, str] = MappingProxyType(
    {FaultKind.REPEATED: "only an HJ 212 logger uploads a message again by itself; order late"}
)
_NO_BROADCAST: Mapping[FaultKind, str] = MappingProxyType(
    {FaultKind.MISSED_BROADCAST: "only DL/T 645 meters are ordered by broadcast"}
)


_WRAPPER: Mapping[FaultKind, str] = MappingProxyType(
    {
        **dict.fromkeys(
            _CONNECTION, "the faults of a connection are simulated for Modbus TCP; order silent or dead"
        ),
        FaultKind.WRONG_CHECKSUM: "the wrapper of DLMS has no checksum",
        FaultKind.ECHO: "a TCP connection has no echo",
        FaultKind.BAUD_MISMATCH: "a TCP meter has no baud",
    }
)

_LOGGER: Mapping[FaultKind, str] = MappingProxyType(
    {
        FaultKind.ECHO: "a TCP connection has no echo",
        FaultKind.BAUD_MISMATCH: "a TCP connection has no baud",
        FaultKind.WRONG_TRANSACTION: "nobody asks a logger: its messages answer to no transaction",
        FaultKind.STALE_ANSWER: "nobody asks a logger; order repeated",
        FaultKind.HALF_OPEN: "the logger connects, and anew; order silent or connection_reset",
        **dict.fromkeys(
            (FaultKind.ROLLOVER, FaultKind.RESET, FaultKind.SWAP), "a logger's factors are no registers"
        ),
    }
)


def refused(protocol: str) -> Mapping[FaultKind, str]:
    """The faults that a simulated meter of a protocol cannot have, each with the reason."""
    if protocol == "hj212":
        return {**_LOGGER, **_NO_BROADCAST}
    of_link = {"modbus-tcp": _TCP, "dlms-wrapper": _WRAPPER}.get(protocol, _CONNECTION)
    of_all = {**of_link, **_ASKED}
    return of_all if protocol.startswith("dlt645") else {**of_all, **_NO_BROADCAST}


def checked(scenario: Scenario, protocols: Mapping[str, str]) -> Scenario:
    """The scenario as it can be played, ``protocols`` by meter id: a fault of all meters meets those that know it.

    Raises:
        ScenarioError: a fault of a meter that is not there, or of one that cannot have it, or of all and none can.
    """
    cannot = {meter: refused(protocol) for meter, protocol in protocols.items()}
    for n, fault in enumerate(scenario.faults, start=1):
        if fault.meter and fault.meter not in protocols:
            known = ", ".join(sorted(protocols)) or "none"
            raise ScenarioError(f"fault {n}: there is no meter {fault.meter!r}; there are {known}")
        reasons = {m: why.get(fault.kind) for m, why in cannot.items() if fault.meter in ("", m)}
        if reasons and all(reasons.values()):
            meter, reason = next(iter(reasons.items()))
            whose = f"{meter} cannot have it" if fault.meter else "no meter of this site can have it"
            raise ScenarioError(f"fault {n}: {fault.kind}: {whose}: {reason}")
    return replace(scenario, refused=cannot)


def table(protocols: tuple[str, ...]) -> str:
    """Faults by protocol as a Markdown table: ● can be ordered, – is refused."""
    rows = ["| fault | " + " | ".join(protocols) + " |", "|---|" + ":-:|" * len(protocols)]
    for kind in FaultKind:
        marks = ("–" if kind in refused(protocol) else "●" for protocol in protocols)
        rows.append(f"| `{kind}` | " + " | ".join(marks) + " |")
    return "\n".join(rows) + "\n"
