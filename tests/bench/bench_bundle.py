"""How large the audit bundle of one meter-day is, by what the meter is asked and by how many share its log.

    python -m tests.bench.bench_bundle

1440 scans, one a minute, with the frames that an Acrel ADL3000 answers by Modbus, loads that wander as a motor's do,
every value corrected by certificates behind a calibrated CT, a seal a minute, 15-minute energies. Then the five meters
of the demo site, polled each minute: once with answers that come after 40 ms to the microsecond, once with answers
that come when they come (40 to 49 ms). The page is the file that an auditor gets; its data are what is in it beside
the page.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from random import Random

from drivers.codec import Answer, Exchange, Indication, Instant, Scan
from drivers.metered import encode_answer
from drivers.modbus import Request, decoder, encode, match
from drivers.points import Query
from drivers.profile import decode, load, plan
from evidence import bundle as bundles
from evidence.bundle_page import page
from evidence.note import Checkpoint, Ed25519Signer
from gateway.cli.stored import stored_reader
from gateway.clock import SetClock
from gateway.lanes import Channel
from gateway.pipeline import Pipeline
from gateway.prepared import PreparedBus, PreparedMeter
from gateway.schedule import Tick
from gateway.store import LogStore
from tests.central.recorded import ORIGIN as DEMO
from tests.central.recorded import Recorder, site
from tests.rigs.meters import ORIGIN, S, calibrated

PROFILE = load("acrel-adl3000")
DAY_S, MINUTE = 86_400, 60 * S
ROWS = (
    ("energy", ("energy.active.import",)),
    ("energy, three currents", ("energy.active.import", "current.l1", "current.l2", "current.l3")),
    ("all nine of the profile", tuple(point.measurand for point in PROFILE.points)),
)


def shown(second: int, random: Random, total: list[Decimal], rate: float) -> dict[str, Decimal]:
    """What the meter shows: its energy grown on, its loads wandered on."""
    load = rate * (1 + 0.3 * math.sin(second / 7000)) * random.uniform(0.97, 1.03)
    volts = [Decimal(random.randint(2280, 2330)) / 10 for _ in range(3)]
    amps = [Decimal(round(load * random.uniform(98, 102))) / 100 for _ in range(3)]
    kw = sum(u * i for u, i in zip(volts, amps, strict=True)) * Decimal("0.00095")
    total[0] += kw / 60
    return {
        "energy.active.import": total[0].quantize(Decimal("0.01")),
        "energy.active.export": Decimal(0),
        **{f"voltage.l{n}": value for n, value in enumerate(volts, 1)},
        **{f"current.l{n}": value for n, value in enumerate(amps, 1)},
        "frequency": Decimal(random.randint(4995, 5005)) / 100,
    }


async def size(measurands: Sequence[str], meters: int) -> tuple[int, int, int]:
    """Bytes of the page, of the data in it, and how many hashes hide the others' entries."""
    queries = plan(PROFILE, measurands)
    names = [f"M{n}" for n in range(meters)]
    units = {point.measurand: point.unit for point in PROFILE.points}
    clock = SetClock()
    began = clock.now()
    signer = Ed25519Signer.generate(ORIGIN)
    line = Pipeline(
        [Channel(name, MINUTE, calibrated(name), units) for name in names],
        clock,
        origin=ORIGIN,
        keys=(signer.verifier.vkey,),
        software="suyuan/bench",
        configuration=b"{}",
        aggregate_us=15 * MINUTE,
    )
    random = Random(5)
    totals = {name: [Decimal(1000 + 77 * n)] for n, name in enumerate(names)}

    def sign(size: int, root: bytes) -> bytes:
        return Checkpoint(ORIGIN, size, root).signed_by(signer).encode()

    with tempfile.TemporaryDirectory() as place:
        store = LogStore(Path(place), ORIGIN, ballast=0)
        line.begin(store, {})
        for second in range(0, DAY_S, 60):
            await clock.advance(60 * S)
            tick = Tick(began.utc_us + second * S, began.boot_us + second * S)
            for n, name in enumerate(names):
                values = shown(second, random, totals[name], 2.5 + n / 2)
                line.accept(name, tick, scanned(queries, values, str(n + 1), tick, random))
            line.seal(None)
            taken = line.take(checkpoint=True)
            store.commit(taken.entries, sign, taken.state)
            line.committed()
        store.close()
        with stored_reader(Path(place), ORIGIN) as read:
            made = bundles.make(read, "M0", began.utc_us, began.utc_us + DAY_S * S)
    data = bundles.encode(made)
    return len(page(data).encode()), len(data), len(made.hashes)


def scanned(
    queries: Sequence[Query], values: dict[str, Decimal], unit: str, tick: Tick, random: Random
) -> Scan:
    """One scan by Modbus RTU, its frames as they would stand on the line."""
    wait = random.randint(3_000, 9_000)
    at = Instant(tick.due_us + wait, tick.due_boot_us + wait)
    exchanges, indications = [], []
    for query in queries:
        request = Request(unit, query.function, query.start, query.count)
        heard = encode_answer(PROFILE, request, values)
        (frame,) = decoder().feed(heard)
        answer = match(request, frame)
        assert isinstance(answer, Answer), answer
        indications += decode(PROFILE, query, answer)
        later = Instant(
            at.utc_us + random.randint(40_000, 60_000), at.boot_us + random.randint(40_000, 60_000)
        )
        exchanges.append(Exchange(encode(request), heard, at, later))
        at = later
    return Scan(tuple(indications), tuple(exchanges), exchanges[0].sent, at)


@dataclass
class Measured(Recorder):
    """The demo site's meters, whose answers take their time."""

    varies: bool = False

    def exchange(
        self,
        bus: PreparedBus,
        meter: PreparedMeter,
        query: Query,
        values: dict[str, Decimal],
        n: int,
        at: Instant,
    ) -> tuple[Exchange, tuple[Indication, ...]]:
        exchange, read = super().exchange(bus, meter, query, values, n, at)
        if not self.varies:
            return exchange, read
        took = exchange.received.utc_us - at.utc_us
        return replace(exchange, received=Instant(at.utc_us + took, at.boot_us + took)), read


async def demo(*, varies: bool) -> list[tuple[str, int, int, int]]:
    """Of each meter of the demo site: its name, and bytes and hashes as :func:`size` has them."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        recorder = Measured(site(Path(place)), Path(place, "log"), aggregate_us=15 * MINUTE, varies=varies)
        began = recorder.clock.now()
        for _ in range(0, DAY_S + 60, 60):
            await recorder.minute()
            recorder.commit()
        recorder.store.close()
        with stored_reader(Path(place, "log"), DEMO) as read:
            for name in recorder.meters:
                made = bundles.make(read, name, began.utc_us, began.utc_us + DAY_S * S)
                data = bundles.encode(made)
                found.append((name, len(page(data).encode()), len(data), len(made.hashes)))
    return found


def main() -> None:
    print(f"{'asked of each meter':42}{'meters':>7}{'page kB':>9}{'data kB':>9}{'hashes':>8}")
    for what, measurands in ROWS:
        for meters in (1, 5):
            whole, data, hashes = asyncio.run(size(measurands, meters))
            print(f"{what:42}{meters:7}{whole / 1000:9.0f}{data / 1000:9.0f}{hashes:8}")

    for varies in (False, True):
        for name, whole, data, hashes in asyncio.run(demo(varies=varies)):
            what = f"demo site, {name}{', answers vary' if varies else ''}"
            print(f"{what:42}{5:7}{whole / 1000:9.0f}{data / 1000:9.0f}{hashes:8}")


if __name__ == "__main__":
    main()
