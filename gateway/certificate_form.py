"""The form of a certificate: what is asked of it, in English and Chinese."""

from __future__ import annotations

from calibration.certificate import CertificateKind, ReferenceUse
from gateway.form import Answers, BadAnswer, Field, Form, read_day, read_number, read_yes


def _certificate_kind(text: str) -> CertificateKind:
    names = {"校准": "calibration", "检定": "verification", "检测": "test"}
    try:
        return CertificateKind(names.get(text, text.lower()))
    except ValueError:
        raise BadAnswer("form.choice", value=text, choices=", ".join(CertificateKind)) from None


def _references(text: str) -> tuple[ReferenceUse, ...]:
    found = []
    for line in text.splitlines():
        parts = line.replace("\t", " ").split()
        if not parts:
            continue
        if len(parts) > 3:
            raise BadAnswer("form.reference", value=line)
        share = read_number(parts[2]) if len(parts) == 3 else None
        certificate = parts[1] if len(parts) > 1 and parts[1] != "-" else ""
        found.append(ReferenceUse("" if parts[0] == "-" else parts[0], certificate, share=share))
    return tuple(found)


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
            read_yes,
            example="no",
            default="no",
        ),
        Field(
            "performed",
            ("Performed on", "校准日期"),
            ("the day of the calibration, not of the paper", "校准当日，非签发日"),
            read_day,
            example="2026-05-01",
            needed=True,
        ),
        Field(
            "issued",
            ("Issued on", "签发日期"),
            ("the day of the paper", "证书签发日"),
            read_day,
            example="2026-05-04",
        ),
        Field(
            "valid_until",
            ("Valid until", "有效期至"),
            (
                "verification: its end; calibration: the recalibration date, if agreed",
                "检定：有效期；校准：约定的复校日期",
            ),
            read_day,
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
            read_number,
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
            read_yes,
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
            read_number,
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
            read_yes,
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
            read_yes,
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
