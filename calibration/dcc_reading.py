"""Digital calibration certificates (PTB DCC XML 2.4 to 3.3) as they stand: items, equipment, tables of quantities.

This half reads the XML and says, by XPath, what it can't read; what a table means is for ``calibration.dcc``. The file
is not trusted: no DTD, no entities, no network, a bounded size. Numbers become exact decimals; a list of one element
(an uncertainty, a coverage factor, a unit) holds for all values of its table. ``refType`` is a list of tokens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from lxml import etree

from calibration.refusals import DccRefused

NAMESPACES = {
    "dcc": "https://ptb.de/dcc",
    "si": "https://ptb.de/si",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
SIZE_LIMIT = 20 * 1024 * 1024
"""Largest file read, bytes."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([Ee][-+]?\d+)?")
_VERSION = re.compile(r"(\d+)\.(\d+)(\.\d+)?(-[\w.]+)?")
_OLDEST, _NEWEST = (2, 4), (3, 3)

Element = Any  # lxml's elements carry no useful types


@dataclass(frozen=True, slots=True)
class Values:
    """One alternative of a quantity: values with a D-SI unit and, if stated, their uncertainty.

    ``U`` and ``k`` are as long as ``values``; a standard uncertainty is U with k = 1.
    """

    xpath: str
    unit: str
    values: tuple[Decimal, ...]
    U: tuple[Decimal, ...] | None = None
    k: tuple[Decimal, ...] | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A quantity of a table: its ``refType`` tokens, its name, its alternatives (the same in several units)."""

    xpath: str
    tokens: frozenset[str]
    name: str
    alternatives: tuple[Values, ...]

    def __len__(self) -> int:
        return len(self.alternatives[0].values)


@dataclass(frozen=True, slots=True)
class Table:
    """Quantities that belong together, line by line. ``before``: values before an adjustment (as found)."""

    xpath: str
    tokens: frozenset[str]
    name: str
    columns: tuple[Column, ...]
    before: bool

    def column(self, *tokens: str) -> Column | None:
        """The first quantity that carries one of the tokens."""
        return next((c for token in tokens for c in self.columns if token in c.tokens), None)


@dataclass(frozen=True, slots=True)
class Item:
    """A calibrated item; ``ids`` are (issuer, value) pairs: all of them, whoever issued them."""

    name: str
    manufacturer: str
    model: str
    ids: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Equipment:
    """A standard used: its ids, and the certificate that the laboratory refers to (``digest`` only if SHA-256)."""

    name: str
    tokens: frozenset[str]
    ids: tuple[tuple[str, str], ...]
    certificate: str
    digest: str
    quantities: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the certificate."""

    tokens: frozenset[str]
    declaration: str
    day: date | None
    conformity: str
    traceable: bool | None
    norms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A digital calibration certificate as read; ``digest`` is the SHA-256 of its file."""

    digest: str
    version: str
    id: str
    begun: date
    performed: date
    issued: date | None
    laboratory: str
    accreditation: str
    country: str
    responsible: tuple[str, ...]
    customer: str
    items: tuple[Item, ...]
    equipment: tuple[Equipment, ...]
    statements: tuple[Statement, ...]
    conditions: dict[str, str]
    tables: tuple[Table, ...]
    adjusted: bool
    signed: bool

    def statement(self, token: str) -> Statement | None:
        """The first statement that carries the token."""
        return next((s for s in self.statements if token in s.tokens), None)


def read(data: bytes) -> Document:
    """Read a file.

    Raises:
        DccRefused: not a DCC, of an unknown version, too large, or an element that is missing or can't be read; the
            message begins with its XPath.
    """
    root = parse(data)
    core = _one(root, "dcc:administrativeData/dcc:coreData")
    laboratory = _one(root, "dcc:administrativeData/dcc:calibrationLaboratory")
    conditions = list(root.iterfind(".//dcc:influenceCondition", NAMESPACES))
    return Document(
        digest=hashlib.sha256(data).hexdigest(),
        version=root.get("schemaVersion", ""),
        id=_text(core, "dcc:uniqueIdentifier"),
        begun=_date(core, "dcc:beginPerformanceDate"),
        performed=_date(core, "dcc:endPerformanceDate"),
        issued=_optional_date(core, "dcc:issueDate"),
        laboratory=_name(_one(laboratory, "dcc:contact/dcc:name")),
        accreditation=_optional(laboratory, "dcc:calibrationLaboratoryCode"),
        country=_optional(core, "dcc:countryCodeISO3166_1"),
        responsible=tuple(
            _name(e) for e in root.iterfind(".//dcc:respPerson/dcc:person/dcc:name", NAMESPACES)
        ),
        customer=_optional_name(root, "dcc:administrativeData/dcc:customer/dcc:name"),
        items=tuple(_item(e) for e in root.iterfind("dcc:administrativeData/dcc:items/dcc:item", NAMESPACES)),
        equipment=tuple(_equipment(e) for e in root.iterfind(".//dcc:measuringEquipment", NAMESPACES)),
        statements=tuple(
            _statement(e)
            for e in root.iterfind("dcc:administrativeData/dcc:statements/dcc:statement", NAMESPACES)
        ),
        conditions=_conditions(conditions),
        tables=tuple(_tables(root)),
        adjusted=any("basic_adjustment" in _tokens(e) for e in conditions),
        signed=root.find("ds:Signature", NAMESPACES) is not None,
    )


def parse(data: bytes) -> Element:
    """The root element of a file that is a DCC of a known version, by a parser that fetches and expands nothing."""
    if len(data) > SIZE_LIMIT:
        raise DccRefused("T312", "", size=len(data), limit=SIZE_LIMIT)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise DccRefused("T300", "", why=str(error)) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise DccRefused("T300", "", why="it declares a document type, which a DCC never does")
    if root.tag != f"{{{NAMESPACES['dcc']}}}digitalCalibrationCertificate":
        raise DccRefused("T300", "/" + etree.QName(root).localname, why="the root element is another")
    version = _VERSION.fullmatch(root.get("schemaVersion", ""))
    if version is None or not _OLDEST <= (int(version[1]), int(version[2])) <= _NEWEST:
        raise DccRefused("T301", f"{path(root)}/@schemaVersion", version=root.get("schemaVersion"))
    return root


def path(element: Element) -> str:
    """The XPath of an element, with prefixes and positions: ``/dcc:…/dcc:result[2]/dcc:data``."""
    parts = []
    while element is not None:
        name = etree.QName(element)
        prefix = next((p for p, uri in NAMESPACES.items() if uri == name.namespace), "")
        step = f"{prefix}:{name.localname}" if prefix else name.localname
        parent = element.getparent()
        if parent is not None:
            alike = [e for e in parent if e.tag == element.tag]
            if len(alike) > 1:
                step += f"[{alike.index(element) + 1}]"
        parts.append(step)
        element = parent
    return "/" + "/".join(reversed(parts))


def _tables(root: Element) -> Iterator[Table]:
    """Tables of results, then of values before an adjustment; a bare search for quantities would mix the two."""
    results = root.iterfind("dcc:measurementResults/dcc:measurementResult/dcc:results/dcc:result", NAMESPACES)
    for result in results:
        before = bool(_tokens(result) & {"basic_beforeAdjustment", "basic_asFound"})
        yield from _tables_in(result, before)
    for condition in root.iterfind(".//dcc:influenceCondition", NAMESPACES):
        if _optional(condition, "dcc:status") in {"beforeAdjustment", "beforeRepair"}:
            yield from _tables_in(condition, before=True)


def _tables_in(owner: Element, before: bool) -> Iterator[Table]:
    name = _optional_name(owner, "dcc:name")
    for holder in (owner.find("dcc:data", NAMESPACES), *owner.iterfind("dcc:data//dcc:list", NAMESPACES)):
        if holder is None:
            continue
        columns = [c for e in holder.iterfind("dcc:quantity", NAMESPACES) if (c := _column(e)) is not None]
        if columns:
            tokens = _tokens(owner) | _tokens(holder)
            yield Table(
                path(holder), tokens, _optional_name(holder, "dcc:name") or name, tuple(columns), before
            )


def _column(quantity: Element) -> Column | None:
    hybrid = quantity.find("si:hybrid", NAMESPACES)
    holder = quantity if hybrid is None else hybrid
    found: list[Values] = [_value_list(e) for e in holder.iterfind("si:realListXMLList", NAMESPACES)]
    found += [_single(e) for e in holder.iterfind("si:real", NAMESPACES)]
    listed = holder.find("si:list", NAMESPACES)
    if listed is not None:
        found.append(_joined(listed, [_single(e) for e in listed.iterfind("si:real", NAMESPACES)]))
    if not found:
        return None  # text, formula, complex or constant: no table of values
    for values in found:
        if len(values.values) != len(found[0].values):
            raise DccRefused("T305", values.xpath, found=len(values.values), expected=len(found[0].values))
    relative = quantity.find("dcc:relativeUncertainty", NAMESPACES)
    if relative is not None and all(values.U is None for values in found):
        raise DccRefused("T316", path(relative), form="dcc:relativeUncertainty")
    return Column(path(quantity), _tokens(quantity), _optional_name(quantity, "dcc:name"), tuple(found))


def _value_list(element: Element) -> Values:
    values = _numbers(element, "si:valueXMLList")
    units = set(_text(element, "si:unitXMLList").split())
    if len(units) != 1:
        raise DccRefused(
            "T303", f"{path(element)}/si:unitXMLList", value=" ".join(sorted(units)), expected="one unit"
        )
    size = len(values)
    for holder, uncertainty, factor in (
        ("si:expandedUncXMLList", "si:uncertaintyXMLList", "si:coverageFactorXMLList"),
        (
            "si:measurementUncertaintyUnivariateXMLList/si:expandedMUXMLList",
            "si:valueExpandedMUXMLList",
            "si:coverageFactorXMLList",
        ),
    ):
        found = element.find(holder, NAMESPACES)
        if found is not None:
            big = _spread(_numbers(found, uncertainty), size, f"{path(found)}/{uncertainty}")
            return Values(path(element), units.pop(), values, big, _factors(found, factor, size))
    standard = element.find("si:measurementUncertaintyUnivariateXMLList/si:standardMUXMLList", NAMESPACES)
    if standard is not None:
        name = "si:valueStandardMUXMLList"
        u = _spread(_numbers(standard, name), size, f"{path(standard)}/{name}")
        return Values(path(element), units.pop(), values, u, (Decimal(1),) * size)
    _refuse_other_forms(element)
    return Values(path(element), units.pop(), values)


def _single(element: Element) -> Values:
    value = (_number(_text(element, "si:value"), f"{path(element)}/si:value"),)
    unit = _text(element, "si:unit").strip()
    for holder, uncertainty in (
        ("si:expandedUnc", "si:uncertainty"),
        ("si:measurementUncertaintyUnivariate/si:expandedMU", "si:valueExpandedMU"),
    ):
        found = element.find(holder, NAMESPACES)
        if found is not None:
            u = _numbers(found, uncertainty)
            return Values(path(element), unit, value, u, _factors(found, "si:coverageFactor", 1))
    standard = element.find("si:measurementUncertaintyUnivariate/si:standardMU", NAMESPACES)
    if standard is not None:
        return Values(path(element), unit, value, _numbers(standard, "si:valueStandardMU"), (Decimal(1),))
    _refuse_other_forms(element)
    return Values(path(element), unit, value)


def _joined(element: Element, singles: Sequence[Values]) -> Values:
    units = {single.unit for single in singles}
    if len(units) != 1:
        raise DccRefused(
            "T303", path(element), value=" ".join(sorted(units)), expected="one unit for all values"
        )
    values = tuple(v for single in singles for v in single.values)
    if any(single.U is None for single in singles):
        return Values(path(element), units.pop(), values)
    big = tuple(u for single in singles for u in single.U or ())
    return Values(
        path(element), units.pop(), values, big, tuple(k for single in singles for k in single.k or ())
    )


def _factors(element: Element, name: str, size: int) -> tuple[Decimal, ...]:
    if element.find(name, NAMESPACES) is None:
        raise DccRefused("T306", path(element))
    where = f"{path(element)}/{name}"
    factors = _spread(_numbers(element, name), size, where)
    for factor in factors:
        if factor <= 0:
            raise DccRefused("T303", where, value=str(factor), expected="a coverage factor")
    return factors


def _refuse_other_forms(element: Element) -> None:
    for child in element:
        name = etree.QName(child).localname if isinstance(child.tag, str) else ""
        if any(
            word in name
            for word in ("coverageInterval", "ellipsoidalRegion", "rectangularRegion", "Uncertainty")
        ):
            raise DccRefused("T316", path(child), form=name)


def _spread(numbers: tuple[Decimal, ...], size: int, where: str) -> tuple[Decimal, ...]:
    if len(numbers) == 1:
        return numbers * size
    if len(numbers) != size:
        raise DccRefused("T305", where, found=len(numbers), expected=size)
    return numbers


def _numbers(element: Element, name: str) -> tuple[Decimal, ...]:
    where = f"{path(element)}/{name}"
    numbers = tuple(_number(text, where) for text in _text(element, name).split())
    if not numbers:
        raise DccRefused("T302", where)
    return numbers


def _number(text: str, where: str) -> Decimal:
    if not _NUMBER.fullmatch(text.strip()):
        raise DccRefused("T303", where, value=text, expected="a number")
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise DccRefused("T303", where, value=text, expected="a number") from None


def _item(element: Element) -> Item:
    return Item(
        _optional_name(element, "dcc:name"),
        _optional_name(element, "dcc:manufacturer/dcc:name"),
        _optional(element, "dcc:model"),
        _ids(element),
    )


def _equipment(element: Element) -> Equipment:
    certificate = element.find("dcc:certificate", NAMESPACES)
    referral, digest = "", ""
    if certificate is not None:
        referral = _optional(certificate, "dcc:referralID")
        procedure = re.sub(r"[^a-z0-9]", "", _optional(certificate, "dcc:procedure").lower())
        value = _optional(certificate, "dcc:value").lower()
        # "analogue" and placeholders are common: only what can be a hash is one.
        if procedure.endswith("sha256") and re.fullmatch(r"[0-9a-f]{64}", value):
            digest = value
    quantities = [
        c
        for e in element.iterfind(".//dcc:measuringEquipmentQuantity", NAMESPACES)
        if (c := _column(e)) is not None
    ]
    return Equipment(
        _optional_name(element, "dcc:name"),
        _tokens(element),
        _ids(element),
        referral,
        digest,
        tuple(quantities),
    )


def _ids(element: Element) -> tuple[tuple[str, str], ...]:
    found = element.iterfind("dcc:identifications/dcc:identification", NAMESPACES)
    return tuple((_optional(e, "dcc:issuer"), _optional(e, "dcc:value")) for e in found)


def _statement(element: Element) -> Statement:
    traceable = _optional(element, "dcc:traceable")
    conformity = _optional(element, "dcc:conformity") or _optional(element, "dcc:conformityXMLList")
    declared = element.find("dcc:declaration", NAMESPACES)
    return Statement(
        _tokens(element),
        "" if declared is None else _name(declared),
        _optional_date(element, "dcc:date"),
        conformity,
        None if not traceable else traceable in {"true", "1"},
        tuple(e.text or "" for e in element.iterfind("dcc:norm", NAMESPACES)),
    )


def _conditions(elements: Sequence[Element]) -> dict[str, str]:
    r"""Ambient conditions as text: ``temperature`` → ``293 … 299 \kelvin``."""
    made = {}
    for element in elements:
        for token in sorted(_tokens(element)):
            name = token.removeprefix("basic_")
            bounds = [
                (_optional(q, ".//si:value"), _optional(q, ".//si:unit"))
                for end in ("Min", "Max")
                for q in element.iterfind("dcc:data//dcc:quantity", NAMESPACES)
                if f"{token}{end}" in _tokens(q)
            ]
            if token.startswith("basic_") and bounds and all(value for value, _ in bounds):
                made[name] = " … ".join(value for value, _ in bounds) + " " + bounds[0][1]
    return made


def _tokens(element: Element) -> frozenset[str]:
    """The ``refType`` tokens; some writers put the token into ``id`` instead, where it is as clear."""
    tokens = (element.get("refType") or "").split()
    misplaced = element.get("id", "")
    return frozenset([*tokens, misplaced] if misplaced.startswith("basic_") else tokens)


def _one(element: Element, name: str) -> Element:
    found = element.find(name, NAMESPACES)
    if found is None:
        raise DccRefused("T302", f"{path(element)}/{name}")
    return found


def _text(element: Element, name: str) -> str:
    text = (_one(element, name).text or "").strip()
    if not text:
        raise DccRefused("T302", f"{path(element)}/{name}")
    return text


def _optional(element: Element, name: str) -> str:
    return (element.findtext(name, "", NAMESPACES) or "").strip()


def _name(element: Element) -> str:
    """A text in the languages given: the English one, else the first."""
    contents = element.findall("dcc:content", NAMESPACES)
    chosen = next((c for c in contents if c.get("lang") == "en"), contents[0] if contents else None)
    return "" if chosen is None else (chosen.text or "").strip()


def _optional_name(element: Element, name: str) -> str:
    found = element.find(name, NAMESPACES)
    return "" if found is None else _name(found)


def _date(element: Element, name: str) -> date:
    text = _text(element, name)
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise DccRefused(
            "T303", f"{path(element)}/{name}", value=text, expected="a date (YYYY-MM-DD)"
        ) from None


def _optional_date(element: Element, name: str) -> date | None:
    return None if element.find(name, NAMESPACES) is None else _date(element, name)
