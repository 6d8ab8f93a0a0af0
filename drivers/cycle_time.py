"""How long a scan takes on its line: characters, silences and reply delays, counted before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from drivers import dlms_reading, dlt645_items, iec62056_reading
from drivers.bus import Meter
from drivers.line import Timing
from drivers.profile import Query
from drivers.protocols import Codec

_MBUS_TELEGRAM = 5 + 261  # characters of REQ_UD2 and of the longest answer
# characters of DLMS answers; of SNRM and UA, or of DISC and UA, together
_GET_ANSWER, _AARE, _UNNUMBERED = 26, 70, 44
_SESSION, _READOUT = 40, 1000  # IEC 62056-21: characters up to the option select, and of a usual readout
_AROUND_ITEM = 20  # bytes of a DL/T 645 answer beside its data, preamble included


def cycle_time_s(
    codec: Codec, meter: Meter, queries: Sequence[Query], timing: Timing, reply_s: float = 0.1
) -> float:
    """Seconds that one scan takes if all goes well: characters, silences and a reply delay of ``reply_s`` per query.

    A site's schedule holds if the sum over the meters of a line is below the period. Preambles are counted.
    """
    total = 0.0
    for query in queries:
        request = codec.request(meter.address, query)
        if isinstance(request, iec62056_reading.Request):
            total += _readout_s(request, timing, reply_s)
            continue
        if isinstance(request, dlms_reading.Request):
            total += _dialogue_s(codec, request, timing, max(timing.gap_s, meter.gap_s) + reply_s)
            continue
        answer = codec.expected_length(request)
        if answer is None:
            numbered = query.points if query.protocol.startswith("dlt645") else ()
            items = (dlt645_items.describe(point.item) for point in numbered)
            answer = _AROUND_ITEM + sum(item.size for item in items if item is not None)
            if query.protocol == "dlt698":  # OAD, result, type and number, at most
                answer += 11 * len(query.points)
        gap_s = max(timing.gap_s, meter.gap_s)
        if query.protocol == "mbus":  # what opens the reading, and then one telegram of the longest kind
            total += gap_s + _MBUS_TELEGRAM * timing.character_s + reply_s
        total += gap_s + (len(codec.encode(request)) + answer) * timing.character_s + reply_s
    return total


def _dialogue_s(codec: Codec, request: dlms_reading.Request, timing: Timing, each_s: float) -> float:
    """Seconds of a DLMS session: link and association, a GET for each attribute, the end. ``each_s``: per exchange."""
    stage = dlms_reading.Stage.GET
    got = sum(len(codec.encode(replace(request, stage=stage, at=n))) for n in range(len(request.plan)))
    opened = len(codec.encode(replace(request, stage=dlms_reading.Stage.ASSOCIATE)))
    ends = 2 if request.wrapped else 3
    characters = got + len(request.plan) * _GET_ANSWER + opened + _AARE + ends * _UNNUMBERED
    return characters * timing.character_s + (len(request.plan) + ends) * each_s


def _readout_s(request: iec62056_reading.Request, timing: Timing, reply_s: float) -> float:
    """Seconds of a session: sign-on, identification and option select, then a readout of usual length."""
    if not timing.baud:
        return 2 * reply_s + iec62056_reading.PAUSE_S
    low = request.rates is iec62056_reading.Rates.LOW
    fixed = request.rates is iec62056_reading.Rates.FIXED
    first = timing.baud if fixed else iec62056_reading.FIRST_BAUD
    data = timing.baud if fixed else first if low else iec62056_reading.HIGHEST_BAUD
    if request.registers:  # each is asked and answered within the session
        each_s = 10 * _SESSION / data + reply_s + iec62056_reading.PAUSE_S
        return 10 * _SESSION / first + (len(request.registers) + 1) * each_s + 2 * reply_s
    return 10 * (_SESSION / first + _READOUT / data) + 2 * reply_s + iec62056_reading.PAUSE_S
