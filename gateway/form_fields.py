"""The forms' questions: what is asked of an instrument and of a certificate: meaning, unit, example, how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from calibration.certificate import CertificateKind, InstrumentKind, ReferenceUse
from gateway.register_words import told
from gateway.site_values import ratio
from gateway.words import Language

Answers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wrong:
    """One mistake in a form: at which field, what, and the code of ``calibration.words`` if it has one."""

    field: str
    text: str
    code: str = ""


class _BadAnswer(ValueError):
    """An answer that cannot be read: the words for it."""

    def __init__(self, key: str, **values: object) -> None:
        self.key, self.values = key, values
        super().__init__(key)


@dataclass(frozen=True, slots=True)
class Field:
    """One question. ``title`` and ``meaning`` are (English, 中文); ``lines`` takes several lines of answer."""

    name: str
    title: tuple[str, str]
    meaning: tuple[str, str]
    read: Callable[[str], Any] = str
    unit: str = ""
    example: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    needed: bool = False
    lines: bool = False
    applies: Callable[[Answers], bool] = lambda _: True

    def titled(self, language: Language) -> str:
        """Its title, with the unit."""
        title = self.title[language == "zh"]
        return f"{title} [{self.unit}]" if self.unit else title


@dataclass(frozen=True, slots=True)
class Form:
    """A form's fields in the order in which they are asked."""

    name: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of that name."""
        return next((field for field in self.fields if field.name == name), None)

    def asked(self, answers: Answers) -> tuple[Field, ...]:
        """The fields that apply, given what was answered so far."""
        return tuple(field for field in self.fields if field.applies(answers))

    def with_defaults(self, answers: Answers) -> dict[str, str]:
        """The answers, with the default of each field that applies and has none."""
        full = dict(answers)
        for field in self.fields:
            if field.default and not full.get(field.name) and field.applies(full):
                full[field.name] = field.default
        return full

    def missing(self, answers: Answers) -> tuple[str, ...]:
        """Names of needed fields without an answer."""
        full = self.with_defaults(answers)
        return tuple(field.name for field in self.asked(full) if field.needed and not full.get(field.name))

    def values(self, answers: Answers, language: Language) -> tuple[dict[str, Any], list[Wrong]]:
        """The answers read, one by one; the ones that can't be read are told."""
        found: dict[str, Any] = {}
        wrong: list[Wrong] = []
        for name, text in answers.items():
            field = self.field(name)
            if field is None:
                choices = ", ".join(each.name for each in self.fields)
                wrong.append(Wrong(name, told("form.unknown", language, value=name, choices=choices)))
            elif text.strip():
                try:
                    found[name] = field.read(text if field.lines else text.strip())
                except _BadAnswer as error:
                    wrong.append(Wrong(name, told(error.key, language, **error.values)))
        return found, wrong


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.replace("−", "-"))
    except InvalidOperation:
        raise _BadAnswer("form.number", value=text) from None
    if not number.is_finite():
        raise _BadAnswer("form.number", value=text)
    return number


def _ratio(text: str) -> Decimal:
    if "/" not in text:
        return _number(text)
    try:
        return ratio(text)
    except ValueError:
        raise _BadAnswer("form.ratio", value=text) from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _BadAnswer("form.whole", value=text) from None


def _up_to_a_century(text: str) -> int:
    number = _whole(text)
    if abs(number) > 36_525:  # days; months even more so
        raise _BadAnswer("form.long", value=text)
    return number


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.replace("/", "-").replace(".", "-"))
    except ValueError:
        raise _BadAnswer("form.date", value=text) from None


def _yes(text: str) -> bool:
    answer = text.lower()
    if answer in {"yes", "y", "true", "是", "合格"}:
        return True
    if answer in {"no", "n", "false", "否", "不合格"}:
        return False
    raise _BadAnswer("form.yesno", value=text)


def _kind(text: str) -> InstrumentKind:
    try:
        return InstrumentKind(text.lower())
    except ValueError:
        raise _BadAnswer("form.choice", value=text, choices=", ".join(InstrumentKind)) from None


def _certificate_kind(text: str) -> CertificateKind:
    names = {"校准": "calibration", "检定": "verification", "检测": "test"}
    try:
        return CertificateKind(names.get(text, text.lower()))
    except ValueError:
        raise _BadAnswer("form.choice", value=text, choices=", ".join(CertificateKind)) from None


def _references(text: str) -> tuple[ReferenceUse, ...]:
    found = []
    for line in text.splitlines():
        parts = line.replace("\t", " ").split()
        if not parts:
            continue
        if len(parts) > 3:
            raise _BadAnswer("form.reference", value=line)
        share = _number(parts[2]) if len(parts) == 3 else None
        certificate = parts[1] if len(parts) > 1 and parts[1] != "-" else ""
        found.append(ReferenceUse("" if parts[0] == "-" else parts[0], certificate, share=share))
    return tuple(found)


def _electrical(answers: Answers) -> bool:
    return answers.get("kind", "meter").strip().lower() in {"meter", "ct", "pt", ""}


def _transformer(answers: Answers) -> bool:
    return answers.get("kind", "").strip().lower() in {"ct", "pt"}


def _ranged(answers: Answers) -> bool:
    return not _electrical(answers)


INSTRUMENT = Form(
    "instrument",
    (
        Field(
            "id",
            ("Id", "编号"),
            (
                "the name by which the whole plant knows it; it is printed on the label",
                "全厂唯一的编号，印在标签上",
            ),
            example="potline-3-in",
            needed=True,
        ),
        Field(
            "kind",
            ("Kind", "类别"),
            ("what it is", "仪器的类别"),
            _kind,
            example="meter",
            default="meter",
            choices=tuple(InstrumentKind),
            needed=True,
        ),
        Field("manufacturer", ("Maker", "厂商"), ("as on the nameplate", "见铭牌"), example="Holley"),
        Field("model", ("Model", "型号"), ("as on the nameplate", "见铭牌"), example="DTZ545"),
        Field(
            "serial",
            ("Serial number", "出厂编号"),
            ("the maker's, as on the nameplate", "见铭牌"),
            example="2026-0815",
        ),
        Field(
            "tag", ("Tag", "位号"), ("its name in the plant's drawings", "工艺图上的位号"), example="EM-301"
        ),
        Field(
            "accuracy_class",
            ("Accuracy class", "准确度等级"),
            ("as on the nameplate", "见铭牌"),
            example="0.5S",
        ),
        Field(
            "ratio",
            ("Ratio", "变比"),
            ("primary over secondary", "一次侧/二次侧"),
            _ratio,
            example="2000/5",
            applies=_transformer,
        ),
        Field(
            "rated_voltage",
            ("Rated voltage", "额定电压"),
            ("secondary side, phase to neutral", "二次侧相电压"),
            _number,
            "V",
            "57.7",
            applies=_electrical,
        ),
        Field(
            "rated_current",
            ("Rated current", "额定电流"),
            ("secondary side: In, or Ib of a meter without transformers", "二次侧：In；直接接入式为 Ib"),
            _number,
            "A",
            "5",
            applies=_electrical,
        ),
        Field(
            "maximum_current",
            ("Maximum current", "最大电流"),
            ("secondary side: Imax", "二次侧：Imax"),
            _number,
            "A",
            "6",
            applies=_electrical,
        ),
        Field(
            "range_low",
            ("Range from", "量程下限"),
            ("the lowest value that it measures", "测量下限"),
            _number,
            example="0",
            applies=_ranged,
        ),
        Field(
            "range_high",
            ("Range to", "量程上限"),
            ("the highest value that it measures", "测量上限"),
            _number,
            example="100",
            applies=_ranged,
        ),
        Field(
            "range_unit",
            ("Unit of the range", "量程单位"),
            ("as UCUM writes it", "UCUM 单位"),
            example="Cel",
            applies=_ranged,
        ),
        Field(
            "mpe",
            ("MPE", "最大允许误差"),
            ("± this much, where no class says it", "±，无等级时填写"),
            _number,
            example="0.5",
        ),
        Field(
            "mpe_unit",
            ("Unit of the MPE", "最大允许误差单位"),
            ("%: of the value", "%：相对值"),
            example="%",
            default="%",
        ),
        Field("place", ("Place", "地点"), ("where it hangs", "安装位置"), example="Potline 3, panel 2"),
        Field("owner", ("Owner", "责任部门"), ("who answers for it", "负责部门"), example="Energy office"),
        Field(
            "parent",
            ("Stands behind", "上级仪器"),
            ("the id of the CT or PT before it", "前级互感器的编号"),
            example="ct-3-in",
        ),
        Field(
            "interval_months",
            ("Calibration interval", "校准间隔"),
            ("agreed in the plant; empty: as certified", "本厂约定；空：按证书"),
            _up_to_a_century,
            "months",
            "12",
        ),
        Field(
            "lead_days",
            ("First alert", "首次提醒"),
            ("days before it is due; empty: 90", "到期前天数；空：90"),
            _up_to_a_century,
            "d",
            "60",
        ),
        Field("note", ("Note", "备注"), ("anything else", "其他")),
    ),
)


def _calibrates(answers: Answers) -> bool:
    return answers.get("kind", "calibration").strip().lower() not in {"verification", "检定"}


def _verifies(answers: Answers) -> bool:
    return not _calibrates(answers)


def _adjusted(answers: Answers) -> bool:
    return _calibrates(answers) and answers.get("adjusted", "").strip().lower() in {"yes", "y", "true", "是"}


CERTIFICATE = Form(
    "certificate",
    (
        Field(
            "instrument",
            ("Instrument", "仪器"),
            ("the id of the registered instrument", "已登记仪器的编号"),
            example="potline-3-in",
            needed=True,
        ),
        Field(
            "id",
            ("Certificate number", "证书编号"),
            ("as printed on the certificate", "见证书"),
            example="NMC-2026-00815",
            needed=True,
        ),
        Field(
            "kind",
            ("Kind", "种类"),
            (
                "calibration (校准: values with U and k), verification (检定: class or MPE), or test",
                "calibration 校准（带 U 与 k 的值）、verification 检定（等级或最大允许误差）或 test",
            ),
            _certificate_kind,
            example="calibration",
            default="calibration",
            choices=tuple(CertificateKind),
            needed=True,
        ),
        Field(
            "laboratory",
            ("Laboratory", "实验室"),
            ("who issued it", "出具机构"),
            example="Inner Mongolia metrology institute",
            needed=True,
        ),
        Field(
            "accreditation",
            ("Accreditation", "认可编号"),
            ("the laboratory's accreditation number", "实验室认可编号"),
            example="CNAS L0000",
        ),
        Field(
            "national",
            ("National institute", "国家计量院"),
            (
                "yes if a national metrology institute issued it: the chain ends there",
                "若由国家计量院出具填 yes：溯源链到此为止",
            ),
            _yes,
            example="no",
            default="no",
        ),
        Field(
            "performed",
            ("Performed on", "校准日期"),
            ("the day of the calibration, not of the paper", "校准当日，非签发日"),
            _day,
            example="2026-05-01",
            needed=True,
        ),
        Field(
            "issued",
            ("Issued on", "签发日期"),
            ("the day of the paper", "证书签发日"),
            _day,
            example="2026-05-04",
        ),
        Field(
            "valid_until",
            ("Valid until", "有效期至"),
            (
                "verification: its end; calibration: the recalibration date, if agreed",
                "检定：有效期；校准：约定的复校日期",
            ),
            _day,
            example="2027-04-30",
        ),
        Field(
            "accuracy_class",
            ("Class found", "准确度等级"),
            ("the class that was confirmed", "检定合格的等级"),
            example="0.5S",
            applies=_verifies,
        ),
        Field(
            "mpe",
            ("MPE", "最大允许误差"),
            ("± this much, if no class", "±，无等级时填写"),
            _number,
            example="0.5",
            applies=_verifies,
        ),
        Field(
            "mpe_unit",
            ("Unit of the MPE", "最大允许误差单位"),
            ("%: of the value", "%：相对值"),
            example="%",
            default="%",
            applies=_verifies,
        ),
        Field(
            "passed",
            ("Passed", "是否合格"),
            ("the certificate's conclusion", "证书结论"),
            _yes,
            example="yes",
            needed=True,
            applies=_verifies,
        ),
        Field(
            "quantity",
            ("Quantity", "被测量"),
            (
                "what was calibrated: energy.active, voltage, current, ratio, phase, temperature …",
                "校准的量：energy.active、voltage、current、ratio、phase、temperature 等",
            ),
            example="energy.active",
            default="energy.active",
            applies=_calibrates,
        ),
        Field(
            "unit",
            ("Unit of the errors", "误差单位"),
            ("of error and U; %: of the reference value", "误差与 U 的单位；%：相对参考值"),
            example="%",
            default="%",
            applies=_calibrates,
        ),
        Field(
            "load_unit",
            ("Unit of the load", "负载单位"),
            ("along the points; A: secondary side", "各点负载的单位；A 为二次侧"),
            example="A",
            default="A",
            applies=_calibrates,
        ),
        Field(
            "k",
            ("Coverage factor k", "包含因子 k"),
            ("as printed; it is never assumed", "按证书填写；绝不假定"),
            _number,
            example="2",
            applies=_calibrates,
        ),
        Field(
            "points",
            ("Points", "校准点"),
            (
                "load, power factor, error, U (and k); or load, error, U. Errors are indication minus reference",
                "负载、功率因数、示值误差、U（及 k）；或 负载、示值误差、U。示值误差 = 示值 - 参考值",
            ),
            str,
            example="5  1  0.12  0.05",
            lines=True,
            applies=_calibrates,
        ),
        Field(
            "adjusted",
            ("Adjusted", "是否调整"),
            ("was it adjusted or repaired on that occasion?", "此次是否调整或修理过？"),
            _yes,
            example="no",
            applies=_calibrates,
        ),
        Field(
            "as_found",
            ("Points as found", "调整前校准点"),
            ("before the adjustment; columns as above", "调整之前；列同上"),
            str,
            example="5  1  0.45  0.05",
            lines=True,
            applies=_adjusted,
        ),
        Field(
            "references",
            ("Reference standards", "参考标准"),
            (
                "standard's id, its certificate's number, its standard uncertainty in each point, if stated",
                "标准器编号、其证书编号、其在各点的标准不确定度（若列出）",
            ),
            _references,
            example="std-017 NIM-2025-4711 0.010",
            lines=True,
        ),
        Field(
            "resets_cycle",
            ("Regular", "定期校准"),
            ("no: an ad-hoc calibration that does not move the due date", "no：临时校准，不改变到期日"),
            _yes,
            example="yes",
            default="yes",
            applies=_calibrates,
        ),
        Field(
            "decision_rule",
            ("Decision rule", "判定规则"),
            ("of the statement of conformity, if there is one", "符合性声明所用规则（若有）"),
            example="simple",
        ),
        Field("note", ("Note", "备注"), ("anything else", "其他")),
    ),
)
