"""Why the register refuses: one class per kind of mistake, each saying what, where, and what to do.

A refusal is of a whole: nothing of it was written. ``others`` holds the further mistakes found in the same
pass, so that a technician corrects a form once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from calibration.certificate import TraceabilityError
from calibration.words import say


class Refusal(TraceabilityError):
    """Base of all refusals: a code of ``calibration.words``, a place, and the values of its text."""

    def __init__(self, code: str, where: str, /, **values: object) -> None:
        self.code = code
        self.where = where
        self.values = values
        self.others: tuple[Refusal, ...] = ()
        super().__init__(self.text("en"))

    def text(self, language: str = "en") -> str:
        """``where: what is wrong; what to do`` in the language."""
        inner: dict[str, object] = {
            name: say(str(self.values[name]), language) for name in ("todo", "kind") if name in self.values
        }
        near = self.values.get("near")
        if isinstance(near, tuple):  # ids that are like the one that is not there
            inner["near"] = say("similar", language, ids=", ".join(near)) if near else ""
        said = say(self.code, language, **(self.values | inner))
        return f"{self.where}: {said}" if self.where else said

    @property
    def all(self) -> tuple[Refusal, ...]:
        """Itself and the others found with it."""
        return (self, *self.others)

    def along_with(self, others: Sequence[Refusal]) -> Self:
        """The same refusal, carrying the further mistakes."""
        self.others = tuple(others)
        return self


class RegisterError(Refusal):
    """The register file itself: cannot be opened, of another version, busy, read-only."""


class UnknownInstrument(Refusal):
    """No such instrument in the register."""


class UnknownCertificate(Refusal):
    """No such certificate in the register."""


class UnknownSubject(Refusal):
    """No such document, binding, finding."""


class DuplicateId(Refusal):
    """The id, or the very instrument, is registered already."""


class Withdrawn(Refusal):
    """The subject was withdrawn and cannot be used further."""


class NotAccountable(Refusal):
    """The audit trail needs a name and a reason."""


class BadIdentity(Refusal):
    """An id, unit or characteristic of an instrument that cannot be."""


class UnknownUnit(Refusal):
    """A unit that is not in the table of units."""


class CircularParent(Refusal):
    """An instrument that would stand behind itself."""


class BindingConflict(Refusal):
    """A measuring point or an instrument that is taken, or empty, at that time."""


class DatesReversed(Refusal):
    """A later event dated before an earlier one, or in the future."""


class BadDocument(Refusal):
    """A file that is empty, too large, or not the one that was stated."""


class CertificateRefused(Refusal):
    """A certificate that does not say what it must."""


class CoverageFactorMissing(CertificateRefused):
    """An expanded uncertainty without a usable k."""


class PointsRefused(CertificateRefused):
    """Points out of order, twice, or contradicting themselves."""


class ShareTooLarge(CertificateRefused):
    """A reference standard's share that is larger than the whole standard uncertainty."""


class ReferenceRefused(CertificateRefused):
    """A reference standard that cannot be the one used."""


class DccRefused(Refusal):
    """A digital calibration certificate that is not understood; ``where`` is the XPath."""


class TableRefused(Refusal):
    """A table with wrong cells; ``where`` is ``sheet!B7`` or ``row 7, column k``."""


def refuse(problems: Sequence[Refusal]) -> None:
    """Raise the first problem, carrying the others; nothing if there are none."""
    if problems:
        first, *rest = problems
        raise first.along_with(rest)
