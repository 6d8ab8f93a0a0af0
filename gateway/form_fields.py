"""The forms' questions by one name, as scripts import them: what is asked of an instrument and of a certificate."""

from __future__ import annotations

from gateway.certificate_form import CERTIFICATE
from gateway.form import Answers, Field, Form, Wrong
from gateway.instrument_form import INSTRUMENT

__all__ = ("CERTIFICATE", "INSTRUMENT", "Answers", "Field", "Form", "Wrong")
