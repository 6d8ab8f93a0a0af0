"""The gateway's page for a person beside it: what its meters show, with U, what is missing and why; no script.

It says what ``/status`` says, at the instant that it was asked for. Every value is durable. It stays as it is until it
is asked for again, or renews itself where its reader has chosen that (WCAG 2.2.1, 2.2.4), with the way to stop beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Final

from calibration.coverage import rounded
from gateway.code_words import ALARMS, CLOCK, FLAGS, REASONS, all_said, measurand_said, said
from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus
from gateway.words import Language

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
EVERY_S: Final = 10
_K: Final = 2
_LONG_H: Final = 48  # hours from which days are told
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BAD: Final = ' class="bad"'
_UNITS: Final = {"kvar.h": "kvarh", "kV.A": "kVA", "Cel": "°C", "1": ""}
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "colon": (": ", "："),
    "comma": (", ", "，"),
    "as_of": ("As of", "截至"),
    "refresh": ("Refresh", "刷新"),
    "renew": (f"Renew every {EVERY_S} s", f"每 {EVERY_S} 秒自动刷新"),
    "renewing": (f"renews itself every {EVERY_S} s", f"每 {EVERY_S} 秒自动刷新"),
    "stop": ("Stop", "停止"),
    "clock": ("Clock", "时钟"),
    "within": ("within", "误差不超过"),
    "entries": ("Entries in the log", "日志条目"),
    "unconfirmed": ("not yet confirmed by a platform", "平台尚未确认"),
    "receipt": ("Receipt", "回执"),
    "to_entry": ("first {size} entries confirmed, {age}", "已确认前 {size} 条，{age}"),
    "no_receipt": ("none yet", "尚无"),
    "buffer": ("Disk space left for", "剩余磁盘可存"),
    "no_rate": ("not known yet (too short a time since the start)", "尚不可知（启动时间过短）"),
    "hours": ("{n} hours", "{n} 小时"),
    "days": ("{n} hours ({days} days)", "{n} 小时（{days} 天）"),
    "age_s": ("{n} s ago", "{n} 秒前"),
    "age_min": ("{n} min ago", "{n} 分钟前"),
    "age_h": ("{n} h ago", "{n} 小时前"),
    "alarms": ("Alarms", "告警"),
    "no_alarm": ("none", "无"),
    "measurand": ("Measurand", "被测量"),
    "indication": ("The meter shows", "仪表示值"),
    "result": ("Result ± U (k\u00a0=\u00a02)", "测量结果 ± U（k\u00a0=\u00a02）"),
    "register": ("register: U is its resolution", "寄存器：U 仅为分辨力"),
    "uncorrected": ("not corrected", "未修正"),
    "missing": ("missing", "缺失"),
    "no_reading": ("no reading yet", "尚无读数"),
    "stale": ("STALE: not renewed in time", "过期：未按时更新"),
    "read": ("read {time} ({age})", "读取于 {time}（{age}）"),
    "missed": ("polls without a reading: {n}", "无读数的采集：{n} 次"),
    "flags": ("flags", "标志"),
    "other": ("中文", "English"),
    "note": (
        "Values as they stand in the signed log. What happened between meter and gateway is not proven by it.",
        "所示数值均已存入签名日志；仪表与网关之间的传输不在其证明范围内。",
    ),
}
_STYLE: Final = (
    ":root{color-scheme:light dark}*{box-sizing:border-box}"
    "body{font:16px/1.5 sans-serif;margin:1rem auto;padding:0 1rem;max-width:60rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.2rem 0 .2rem;overflow-wrap:anywhere}"
    "p{margin:.2rem 0}"
    "nav a{display:inline-block;padding:.3rem .6rem .3rem 0;margin-right:.6rem}"
    "dl{display:grid;grid-template-columns:fit-content(45%) 1fr;gap:.1rem .8rem;margin:.5rem 0}dt{color:#555}"
    "dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .4rem;"
    "border-bottom:1px solid #bbb;overflow-wrap:anywhere;font-weight:normal}thead th{font-weight:bold}"
    "td{font-variant-numeric:tabular-nums}small{color:#555}.bad{color:#a30000;font-weight:bold}a{color:#0645ad}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}.bad{color:#ff9a9a}a{color:#9cf}"
    "dt,small{color:#bbb}}"
)


def page(status: AgentStatus, language: Language, *, renewing: bool = False) -> str:
    """The page as HTML, in a language; ``renewing``: it asks again by itself, because its reader wanted that."""
    word = _words(language)
    parts = [_head(status.origin, language, renewing), _links(language, word, renewing)]
    parts += ["<dl>", *(_fact(*each) for each in facts(status, language)), "</dl>"]
    for instrument in status.instruments:
        parts += _instrument(instrument, status.utc_us, language, word)
    return "".join([*parts, f"<p><small>{word['note']}</small></p></main></body></html>"])


def _words(language: Language) -> dict[str, str]:
    return {key: texts[1 if language == "zh" else 0] for key, texts in _WORDS.items()}


def _tag(language: Language) -> str:
    return "zh-CN" if language == "zh" else "en"


def _head(origin: str, language: Language, renewing: bool) -> str:
    name = escape(origin)
    again = f'<meta http-equiv="refresh" content="{EVERY_S}">' if renewing else ""
    return (
        f'<!doctype html><html lang="{_tag(language)}"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><main><h1>{name}</h1>"
    )


def _links(language: Language, word: dict[str, str], renewing: bool) -> str:
    other: Language = "en" if language == "zh" else "zh"
    kept = "&amp;renew=1" if renewing else ""
    here = f"/?lang={language}"
    parts = [f'<a href="{here}{kept}">{word["refresh"]}</a>']
    if renewing:
        parts.append(f'{word["renewing"]}{word["colon"]}<a href="{here}">{word["stop"]}</a>')
    else:
        parts.append(f'<a href="{here}&amp;renew=1">{word["renew"]}</a>')
    parts.append(f'<a href="/?lang={other}{kept}" lang="{_tag(other)}">{word["other"]}</a>')
    return f"<nav>{' '.join(parts)}</nav>"


def facts(status: AgentStatus, language: Language) -> Iterator[tuple[str, str, bool]]:
    """What is to be known of the gateway as a whole, in words: name, what it is, and whether somebody has to look."""
    word = _words(language)
    error_us = status.clock_error_us
    bound = "" if error_us is None else f"{word['comma']}{word['within']} {_seconds(error_us)}"
    waiting = f"{word['unconfirmed']}{word['colon']}{status.unacknowledged}"
    yield word["as_of"], _time(status.utc_us), False
    yield word["clock"], said(CLOCK, status.clock, language) + bound, False
    yield word["entries"], f"{status.size}{word['comma']}{waiting}", False
    newest = {receipt.platform: receipt for receipt in status.receipts}
    for platform in dict.fromkeys((*status.platforms, *newest)):
        receipt = newest.get(platform)
        told = word["no_receipt"]
        if receipt is not None:
            age = _age(status.utc_us - receipt.received_us, word)
            told = word["to_entry"].format(size=receipt.size, age=age)
        yield f"{word['receipt']}{word['colon']}{platform}", told, receipt is None
    yield word["buffer"], _buffer(status.buffer_hours, word), False
    alarms = all_said(ALARMS, status.alarms, language)
    yield word["alarms"], alarms or word["no_alarm"], bool(alarms)


def _fact(name: str, told: str, bad: bool) -> str:
    return f"<dt>{escape(name)}</dt><dd{_BAD if bad else ''}>{escape(told)}</dd>"


def _buffer(hours: float | None, word: dict[str, str]) -> str:
    if hours is None:
        return word["no_rate"]
    whole = int(hours)  # never more than there is
    return word["days" if whole >= _LONG_H else "hours"].format(n=whole, days=whole // 24)


def _instrument(
    shown: InstrumentStatus, now_us: int, language: Language, word: dict[str, str]
) -> Iterator[str]:
    yield f"<h2>{escape(shown.instrument)}</h2>"
    if shown.utc_us is None:
        yield f"<p>{word['no_reading']}</p>"
    else:
        age = _age(now_us - shown.utc_us, word)
        yield f"<p>{word['read'].format(time=_time(shown.utc_us), age=age)}</p>"
    yield f"<p>{word['missed'].format(n=shown.missed)}</p>"
    if shown.stale:
        yield f'<p class="bad">{word["stale"]}</p>'
    if shown.flags:
        yield f"<p>{word['flags']}{word['colon']}{escape(all_said(FLAGS, shown.flags, language))}</p>"
    if not shown.measurands:
        return
    heads = "".join(f'<th scope="col">{word[name]}</th>' for name in ("measurand", "indication", "result"))
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for one in shown.measurands:
        name = measurand_said(one.measurand, language)
        code = (
            ""
            if name == one.measurand
            else f"<br><small>{escape(one.measurand).replace('.', '.<wbr>')}</small>"
        )
        yield f'<tr><th scope="row">{escape(name)}{code}</th>{_cells(one, language, word)}</tr>'
    yield "</tbody></table>"


def _cells(one: MeasurandStatus, language: Language, word: dict[str, str]) -> str:
    if one.missing is not None or one.indication is None:
        why = escape(said(REASONS, one.missing or "?", language))
        return f'<td class="bad" colspan="2">{word["missing"]}{word["colon"]}{why}</td>'
    known = _UNITS.get(one.unit, one.unit)
    unit = f" {escape(known)}" if known else ""
    result = word["uncorrected"] if one.value is None or one.u is None else expanded(one.value, one.u) + unit
    if one.value is not None and one.measurand.startswith("energy."):
        result += f"<br><small>{word['register']}</small>"
    return f"<td>{escape(one.indication)}{unit}</td><td>{result}</td>"


def expanded(value: str, u: str) -> str:
    """A value with its expanded uncertainty (k = 2), U to two significant digits, the value to the same place."""
    return "{} ± {}".format(*rounded(value, _K * Decimal(u)))


def _age(us: int, word: dict[str, str]) -> str:
    seconds = max(0, us) // 1_000_000
    if seconds < 120:
        return word["age_s"].format(n=seconds)
    if seconds < 7200:
        return word["age_min"].format(n=seconds // 60)
    return word["age_h"].format(n=seconds // 3600)


def _seconds(us: int) -> str:
    return f"{us / 1000:.3g} ms" if us < 1_000_000 else f"{us / 1e6:.3g} s"


def _time(utc_us: int) -> str:
    """An instant with its zone, to the second."""
    return f"{_EPOCH + timedelta(microseconds=utc_us):%Y-%m-%d %H:%M:%S} UTC"
