"""The form of an instrument: what is asked of it, in English and Chinese."""

from __future__ import annotations

from calibration.certificate import InstrumentKind
from gateway.form import Answers, BadAnswer, Field, Form, read_number, read_ratio, read_up_to_a_century


def _kind(text: str) -> InstrumentKind:
    try:
        return InstrumentKind(text.lower())
    except ValueError:
        raise BadAnswer("form.choice", value=text, choices=", ".join(InstrumentKind)) from None


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
            read_ratio,
            example="2000/5",
            applies=_transformer,
        ),
        Field(
            "rated_voltage",
            ("Rated voltage", "额定电压"),
            ("secondary side, phase to neutral", "二次侧相电压"),
            read_number,
            "V",
            "57.7",
            applies=_electrical,
        ),
        Field(
            "rated_current",
            ("Rated current", "额定电流"),
            ("secondary side: In, or Ib of a meter without transformers", "二次侧：In；直接接入式为 Ib"),
            read_number,
            "A",
            "5",
            applies=_electrical,
        ),
        Field(
            "maximum_current",
            ("Maximum current", "最大电流"),
            ("secondary side: Imax", "二次侧：Imax"),
            read_number,
            "A",
            "6",
            applies=_electrical,
        ),
        Field(
            "range_low",
            ("Range from", "量程下限"),
            ("the lowest value that it measures", "测量下限"),
            read_number,
            example="0",
            applies=_ranged,
        ),
        Field(
            "range_high",
            ("Range to", "量程上限"),
            ("the highest value that it measures", "测量上限"),
            read_number,
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
            read_number,
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
            read_up_to_a_century,
            "months",
            "12",
        ),
        Field(
            "lead_days",
            ("First alert", "首次提醒"),
            ("days before it is due; empty: 90", "到期前天数；空：90"),
            read_up_to_a_century,
            "d",
            "60",
        ),
        Field("note", ("Note", "备注"), ("anything else", "其他")),
    ),
)
