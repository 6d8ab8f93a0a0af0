"""What codes in records mean to people, in English and Chinese: flags, reasons, clock, alarms, measurands.

The audit bundle's page says the same in the same words (``evidence/page/words.js``; a test compares). A code that is
not here is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.words import Language

Words = dict[str, tuple[str, str]]

FLAGS: Final[Words] = {
    "OUTSIDE_CALIBRATED_RANGE": ("outside the calibrated range", "超出校准范围"),
    "LOAD_UNKNOWN": ("load unknown: U spans all loads", "负载未知：U 涵盖全部负载"),
    "POWER_FACTOR_UNKNOWN": (
        "power factor unknown (for a phase's power, that of the phase; or its sign): U spans all",
        "功率因数未知（分相功率须有该相的；或不知感性容性）：U 涵盖全部可能",
    ),
    "CAL_OVERDUE": ("calibration overdue", "校准已过期"),
    "CLASS_ONLY": ("class only", "仅依据等级"),
    "SPLIT_UNKNOWN": ("split of U unknown: larger bound", "U 的分配未知：取较大界"),
    "UNCALIBRATED": ("no certificate and no class: indication only", "无证书也无等级：仅有示值"),
    "REGISTER_ROLLOVER": ("register rolled over", "寄存器翻转"),
    "REGISTER_DECREASED": ("register decreased within noise", "寄存器在噪声内回退"),
    "REGISTER_RESET": ("register reset", "寄存器清零"),
    "REGISTER_REPLACED": ("register replaced", "寄存器更换"),
    "REGISTER_JUMPED": ("register jumped", "寄存器跳变"),
    "CLOCK_STEPPED": ("clock stepped", "时钟跳变"),
    "GAP_BRIDGED": ("gap bridged", "跨越缺口"),
    "frozen": ("frozen by broadcast", "广播冻结"),
    "identity_mismatch": ("another meter than its certificates are about", "与证书所属仪表不符"),
    "sm4": ("came encrypted (SM4)", "加密上送（SM4）"),
    "no_source_timestamp": ("time of arrival: the source states none", "以到达时刻为准：来源未给时间"),
    "retained": ("the broker's last value", "代理保留的最后值"),
}
REASONS: Final[Words] = {
    "timeout": ("no answer", "无应答"),
    "corrupt": ("corrupt answer", "应答损坏"),
    "mismatch": ("foreign answer", "应答不匹配"),
    "link_down": ("line down", "链路中断"),
    "skipped": ("not asked", "未询问"),
    "no_time": ("line busy", "总线繁忙"),
    "stopped": ("stopped", "已停止"),
    "not_supported": ("not supported", "不支持"),
    "not_a_number": ("not a number", "非数值"),
    "wrong_length": ("wrong length", "长度错误"),
    "not_numeric": ("not numeric", "非数字"),
    "unknown_format": ("unknown format", "未知格式"),
    "out_of_range": ("out of range", "超出范围"),
    "fault": ("the instrument says that it is out of order", "仪表自报故障"),
    "flagged": ("called no measurement by the sender", "发送方标明非有效测量"),
    "error_answer": ("meter refuses", "仪表拒绝"),
    "not_frozen": ("not frozen when ordered", "未按命令冻结"),
}
CLOCK: Final[Words] = {
    "unknown": ("nothing sets it", "无授时"),
    "rtc": ("set by a battery clock at the start", "启动时由电池时钟设定"),
    "synchronised": ("synchronised", "已同步"),
    "traced": ("synchronised from a traced source", "已同步于可溯源时间源"),
    "holdover": ("was synchronised, is not now", "曾同步，现已失步"),
}
ALARMS: Final[Words] = {
    "disk_full": ("disk full", "磁盘已满"),
    "low_disk": ("little disk space left", "磁盘空间不足"),
    "key_unavailable": ("the log's key does not sign", "日志密钥无法签名"),
    "second_signature_missing": ("the second signature is missing", "缺少第二签名"),
    "damaged_bundle": ("stored entries are damaged", "已存条目损坏"),
    "contradicted_by_receipt": ("a receipt speaks of another history", "回执所指为另一历史"),
    "contradicted_by_platform": ("a platform has another history", "平台持有另一历史"),
    "identity_mismatch": ("another meter than its certificates are about", "与证书所属仪表不符"),
    "states_refused": ("new calibration data were refused", "新的校准数据被拒绝"),
    "certificate_expiring": ("the TLS certificate expires soon", "TLS 证书即将到期"),
    "enrolment_refused": ("the enrolment was refused", "登记被拒绝"),
}
MEASURANDS: Final[Words] = {
    "energy.active.import": ("active energy, import", "正向有功电能"),
    "energy.active.export": ("active energy, export", "反向有功电能"),
    "energy.reactive.import": ("reactive energy, import", "正向无功电能"),
    "energy.reactive.export": ("reactive energy, export", "反向无功电能"),
    "energy.apparent": ("apparent energy", "视在电能"),
    "power.active": ("active power", "有功功率"),
    "power.reactive": ("reactive power", "无功功率"),
    "power.apparent": ("apparent power", "视在功率"),
    "voltage": ("voltage", "电压"),
    "current": ("current", "电流"),
    "power_factor": ("power factor", "功率因数"),
    "frequency": ("frequency", "频率"),
    "volume.water": ("volume of water", "水量"),
    "volume.gas": ("volume of gas", "气量"),
    "flow.water": ("flow of water", "水流量"),
    "energy.heat": ("heat", "热量"),
    "power.heat": ("heat flow", "热功率"),
    "temperature.supply": ("supply temperature", "供水温度"),
    "temperature.return": ("return temperature", "回水温度"),
}
_TOTAL: Final = ("total", "总")


def said(words: Words, code: str, language: Language) -> str:
    """A code in words; the code itself where there are none."""
    return words[code][_side(language)] if code in words else code


def all_said(words: Words, codes: Iterable[str], language: Language) -> str:
    """Several codes in words, as a list in a sentence."""
    return ("、" if language == "zh" else ", ").join(said(words, code, language) for code in codes)


def measurand_said(measurand: str, language: Language) -> str:
    """A measurand's name for people (``power.active.l1``: active power L1); its code where there is none."""
    parts = measurand.split(".")
    for n in range(len(parts), 0, -1):
        base = ".".join(parts[:n])
        if base in MEASURANDS:
            rest = [
                _TOTAL[_side(language)]
                if part == "total"
                else part.upper()
                if part in ("l1", "l2", "l3", "t1", "t2", "t3", "t4")
                else part
                for part in parts[n:]
            ]
            return " ".join([MEASURANDS[base][_side(language)], *rest])
    return measurand


def _side(language: Language) -> int:
    return 1 if language == "zh" else 0
