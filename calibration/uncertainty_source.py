"""A source of uncertainty (不确定度来源): what it is, whose it is, how long it stays the same, and its identity."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UncertaintySource:
    """A source of uncertainty (不确定度来源): a variable of unit variance, independent of every other source.

    ``kind`` says what it is (``ref_standard``, ``cal_point``, ``drift``, ``ct_ratio``, ``resolution`` …),
    ``owner`` the certificate, standard or instrument that it belongs to, ``epoch`` how long it stays the same
    (a calibration, or a block of time), ``quantity`` tells several sources of one owner apart. ``dof``:
    degrees of freedom, None when known exactly. ``ensemble``: sources whose variance was estimated together
    (the parameters of one fit) carry the same text here, and share one ``dof``.
    """

    kind: str
    owner: str
    epoch: str = ""
    quantity: str = ""
    dist: str = "normal"
    dof: float | None = None
    ensemble: str = ""
    id: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.kind or not self.owner:
            raise ValueError("a source of uncertainty needs a kind and an owner: they are its identity")
        dof = self.dof
        if dof is not None:
            if math.isinf(dof) and dof > 0:
                dof = None
            elif not dof > 0:
                raise ValueError(
                    f"degrees of freedom of {self.kind} {self.owner} must be positive, got {dof!r}"
                )
            else:
                dof = float(dof)
            object.__setattr__(self, "dof", dof)
        identity = {
            "kind": self.kind,
            "owner": self.owner,
            "epoch": self.epoch,
            "quantity": self.quantity,
            "dist": self.dist,
            "dof": None if dof is None else _decimal_text(dof),
            "ensemble": self.ensemble,
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        object.__setattr__(self, "id", f"{self.kind}:{digest[:16]}")


def _decimal_text(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)
