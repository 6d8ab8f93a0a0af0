"""The gateway's page for a person beside it: what its meters show, with U, what is missing and why; no script.

It says what ``/status`` says, at the instant that it was asked for, and asks again by itself. Every value is durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Final

from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus
from gateway.words import Language

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_EVERY_S: Final = 10
_K: Final = 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "as_of": ("as of", "截至"),
    "clock": ("clock", "时钟"),
    "entries": ("entries in the log", "日志条目"),
    "unacknowledged": ("of these not yet confirmed by a platform", "其中平台尚未回执"),
    "alarms": ("Alarms", "告警"),
    "no_alarm": ("no alarm", "无告警"),
    "measurand": ("measurand", "被测量"),
    "indication": ("the meter shows", "仪表示值"),
    "result": ("corrected, ± U (k = 2)", "修正结果 ± U（k = 2）"),
    "uncorrected": ("not corrected", "未修正"),
    "missing": ("missing", "缺失"),
    "no_reading": ("no reading yet", "尚无读数"),
    "stale": ("STALE: not renewed in time", "过期：未按时更新"),
    "read": ("read", "读取于"),
    "missed": ("polls without a reading", "次采集无读数"),
    "flags": ("flags", "标志"),
    "other": ("中文", "English"),
    "note": (
        "Values as they stand in the signed log. What happened between meter and gateway is not proven by it.",
        "所示数值均已存入签名日志；仪表与网关之间的传输不在其证明范围内。",
    ),
}
_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;margin:1rem auto;padding:0 1rem;max-width:60rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-bottom:.2rem;overflow-wrap:anywhere}p{margin:.2rem 0}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .4rem;border-bottom:1px solid #bbb;"
    "overflow-wrap:anywhere}td{font-variant-numeric:tabular-nums}.bad{color:#a30000;font-weight:bold}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}.bad{color:#ff9a9a}a{color:#9cf}}"
)


def page(status: AgentStatus, language: Language) -> str:
    """The page as HTML, in a language."""
    side = 1 if language == "zh" else 0
    word = {key: texts[side] for key, texts in _WORDS.items()}
    other = "en" if side else "zh"
    alarms = (
        [f'<p class="bad">{escape(word["alarms"])}: {escape("; ".join(status.alarms))}</p>']
        if (status.alarms)
        else [f"<p>{word['no_alarm']}</p>"]
    )
    parts = [
        _head(status.origin, language),
        f'<p><a href="/?lang={other}" lang="{other}">{word["other"]}</a></p>',
        f"<p>{word['as_of']} {_time(status.utc_us)}; {word['clock']}: {escape(status.clock)}</p>",
        f"<p>{status.size} {word['entries']}, {status.unacknowledged} {word['unacknowledged']}</p>",
        *alarms,
    ]
    for instrument in status.instruments:
        parts += _instrument(instrument, word)
    return "".join([*parts, f"<p>{word['note']}</p></main></body></html>"])


def _head(origin: str, language: Language) -> str:
    name = escape(origin)
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{_EVERY_S}"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><main><h1>{name}</h1>"
    )


def _instrument(shown: InstrumentStatus, word: dict[str, str]) -> Iterator[str]:
    yield f"<h2>{escape(shown.instrument)}</h2>"
    when = word["no_reading"] if shown.utc_us is None else f"{word['read']} {_time(shown.utc_us)}"
    yield f"<p>{when}; {shown.missed} {word['missed']}</p>"
    if shown.stale:
        yield f'<p class="bad">{word["stale"]}</p>'
    if shown.flags:
        yield f"<p>{word['flags']}: {escape(', '.join(shown.flags))}</p>"
    if not shown.measurands:
        return
    yield f"<table><tr><th>{word['measurand']}</th><th>{word['indication']}</th><th>{word['result']}</th></tr>"
    for one in shown.measurands:
        yield f"<tr><td>{escape(one.measurand)}</td>{_cells(one, word)}</tr>"
    yield "</table>"


def _cells(one: MeasurandStatus, word: dict[str, str]) -> str:
    if one.missing is not None or one.indication is None:
        return f'<td class="bad" colspan="2">{word["missing"]}: {escape(one.missing or "?")}</td>'
    unit = "" if one.unit == "1" else f" {escape(one.unit)}"
    result = word["uncorrected"] if one.value is None or one.u is None else expanded(one.value, one.u) + unit
    return f"<td>{escape(one.indication)}{unit}</td><td>{result}</td>"


def expanded(value: str, u: str) -> str:
    """A value with its expanded uncertainty (k = 2), U to two significant digits, the value to the same place."""
    wide = _K * Decimal(u)
    if not wide:
        return f"{value} ± 0"
    place = Decimal(1).scaleb(wide.adjusted() - 1)
    return f"{Decimal(value).quantize(place):f} ± {wide.quantize(place):f}"


def _time(utc_us: int) -> str:
    """An instant with its zone, to the second."""
    return f"{_EPOCH + timedelta(microseconds=utc_us):%Y-%m-%d %H:%M:%S} UTC"
