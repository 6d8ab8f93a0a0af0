"""A register file of every schema version opens for ever, says what it said, and its audit trail still holds."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from calibration.certificate import SignatureVerdict
from calibration.chain import Status, trace
from calibration.installation import Installations
from calibration.register import Register
from calibration.schema import SCHEMA_VERSION

FROZEN = Path(__file__).parent.parent / "frozen"
HEADS = {1: "14-e07db8de08dfa061c5b83f001749f740dc460fc56b8957241a9bf0c3d2214db5"}


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_register_of_a_former_version(version: int, tmp_path: Path, clock: Callable[[], Any]) -> None:
    path = tmp_path / "register.db"
    path.write_bytes(gzip.decompress((FROZEN / f"register-v{version}.db.gz").read_bytes()))
    for _ in range(2):  # the second opening finds it brought up to date
        with Register.open(path, now=clock) as register:
            assert register.check_audit(HEADS[version]) == ()
            certificate = register.certificate("CAL-1")
            assert certificate.points[0].error.as_tuple() == Decimal("0.120").as_tuple()
            assert certificate.conditions == {"temperature": "23.1 Cel"}
            check = register.certificate_record("CAL-1").signature
            assert check is not None
            assert check.verdict is SignatureVerdict.UNTRUSTED
            (paper,) = register.documents(certificate="CAL-1")
            assert register.content(paper.digest) == b"paper"
            assert register.instruments(include_withdrawn=True)[0].place == "三号柜"
            out = Installations(register).events(instrument="M1")[-1].registers_out
            assert out == {"energy.active.import": Decimal("12.34")}
            assert trace(register, "M1", date(2026, 5, 1)).status is Status.VALID
            assert register.findings(instrument="RS")[0].shift == Decimal("0.3")
