"""Plain data and the register's values are each other's inverse; slips are named by their path."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.certificate import Certificate, CertificateKind, Instrument
from calibration.plain import PlainError, from_plain, to_plain

decimals = st.decimals(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)


@given(
    st.builds(
        Instrument, mpe=st.none() | decimals, ratio=decimals, tag=texts, lead_days=st.none() | st.integers()
    )
)
def test_an_instrument_survives_json(instrument: Instrument) -> None:
    again = from_plain(Instrument, json.loads(json.dumps(to_plain(instrument))))
    assert again == instrument
    assert again.ratio.as_tuple() == instrument.ratio.as_tuple()  # 1.50 stays 1.50


@settings(max_examples=40)
@given(st.from_type(Certificate))
def test_a_certificate_survives_json(certificate: Certificate) -> None:
    plain = to_plain(certificate)
    if "NaN" in json.dumps(plain) or "Infinity" in json.dumps(plain):
        return
    assert from_plain(Certificate, json.loads(json.dumps(plain))) == certificate


GOOD = {"id": "C", "kind": "calibration", "instrument": "M1", "laboratory": "L", "performed": "2026-03-02"}


def test_fields_left_out_take_their_defaults() -> None:
    assert from_plain(Certificate, GOOD) == Certificate(
        "C", CertificateKind.CALIBRATION, "M1", "L", date(2026, 3, 2)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"performd": "2026-01-01"}, "performd: no such field"),
        ({"performed": "2026-02-30"}, "performed: '2026-02-30' is not a date"),
        ({"kind": "calibrated"}, "kind: 'calibrated' is not one of calibration, verification, test"),
        ({"passed": "yes"}, "passed: expected bool"),
        ({"mpe": 0.5}, "mpe: expected text"),
        ({"mpe": "NaN"}, "mpe: NaN is not a finite number"),
        ({"mpe": "0,5"}, "mpe: '0,5' is not a Decimal"),
        ({"points": {}}, "points: expected a list"),
        ({"points": [{"quantity": "voltage"}]}, r"points\[0\].load: missing"),
        ({"references": [{"standard": "S", "share": "x"}]}, r"references\[0\].share"),
        ({"conditions": []}, "conditions: expected an object"),
    ],
)
def test_a_slip_is_named_by_its_path(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PlainError, match=said):
        from_plain(Certificate, GOOD | change)


def test_exactness() -> None:
    assert to_plain(Instrument("M", mpe=Decimal("0.50")))["mpe"] == "0.50"
