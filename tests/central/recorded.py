"""A log made by the gateway's own pipeline from true frames of the demo site's meters: nothing opens a port."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

from drivers.codec import Exchange, Indication, Instant, Missing, Reject, Scan
from drivers.profile import Query, decode, encode_answer, missing
from evidence.note import Checkpoint, Ed25519Signer
from gateway.cli.simulated_site import write_demo
from gateway.clock import SetClock
from gateway.config import SiteFile
from gateway.lanes import Channel
from gateway.pipeline import Pipeline
from gateway.prepare import prepare
from gateway.prepared import Prepared, PreparedBus, PreparedMeter
from gateway.schedule import Tick
from gateway.site_record import configuration
from gateway.store import LogStore

ORIGIN = "suyuan.example/gw/demo"
S = 1_000_000
SIGNER = Ed25519Signer.from_seed(ORIGIN, bytes(32))
PLATFORM = Ed25519Signer.from_seed("suyuan.example/platform", bytes([7]) * 32)
BASE = {
    "power.active": Decimal("44.6672"),
    "power.reactive": Decimal("13.2373"),
    "power.apparent": Decimal("46.5873"),
    "voltage": Decimal("222.3"),
    "current": Decimal("4.911"),
    "power_factor": Decimal("0.959"),
    "frequency": Decimal("50.00"),
    "temperature": Decimal("31.0"),
}


def site(directory: Path) -> Prepared:
    """The demo site, prepared for a fixed day."""
    file = SiteFile(write_demo(directory, 1, PLATFORM.cosigner.vkey))
    return prepare(file, lambda: datetime(2026, 11, 24, tzinfo=UTC))


@dataclass
class Recorder:
    """Polls meters that exist as values only, and writes what the gateway would write."""

    prepared: Prepared
    directory: Path
    seed: int = 1
    aggregate_us: int = 60 * S
    only: Sequence[str] = ()
    clock: SetClock = field(default_factory=SetClock)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.meters: dict[str, tuple[PreparedBus, PreparedMeter]] = {
            meter.config.id: (bus, meter)
            for bus in self.prepared.buses
            for meter in bus.meters
            if not self.only or meter.config.id in self.only
        }
        self.energy = {name: Decimal("4711.25") for name in self.meters}
        self.store = LogStore(self.directory, ORIGIN, ballast=0)
        self.begin()

    def begin(self) -> None:
        """Start, or start again."""
        plan = configuration(self.prepared).replace(
            b'"aggregate_us":5000000', f'"aggregate_us":{self.aggregate_us}'.encode()
        )
        self.line = Pipeline(
            [
                Channel(
                    name,
                    60 * S,
                    meter.state,
                    {p.measurand: p.unit for q in meter.queries for p in q.points},
                    {
                        p.measurand: p.modulus
                        for q in meter.queries
                        for p in q.points
                        if p.modulus is not None
                    },
                    round(meter.config.refresh * 1e6),
                )
                for name, (_, meter) in self.meters.items()
            ],
            self.clock,
            origin=ORIGIN,
            keys=(SIGNER.verifier.vkey,),
            software="suyuan/test",
            configuration=plan,
            aggregate_us=self.aggregate_us,
        )
        self.line.begin(self.store, {})

    async def minute(self, *, lost: Iterable[str] = (), step_us: int = 60 * S) -> None:
        """One poll of each meter; ``lost`` do not answer."""
        now = self.clock.now()
        for name in self.meters:
            scan = self.silent(name, now) if name in lost else self.scan(name, now)
            self.line.accept(name, Tick(now.utc_us, now.boot_us), scan)
        await self.clock.advance(step_us)

    def values(self, name: str) -> dict[str, Decimal]:
        """What the meter shows now."""
        _, meter = self.meters[name]
        self.energy[name] += Decimal(self.random.randrange(50, 90)) / 100
        found = {}
        for query in meter.queries:
            for point in query.points:
                base = point.measurand.removesuffix(".total")
                base = base.rpartition(".")[0] if base[-3:-1] == ".l" else base
                value = BASE.get(base, Decimal(0))
                if point.measurand.startswith("energy."):
                    value = self.energy[name] if point.measurand == "energy.active.import" else Decimal(0)
                elif value:
                    value *= Decimal(self.random.randrange(9900, 10100)) / 10000
                    value = value.quantize(Decimal("0.001") if abs(value) < 1 else Decimal("0.0001"))
                found[point.measurand] = value
        return found

    def scan(self, name: str, now: Instant) -> Scan:
        """A whole scan, through the codec and back."""
        bus, meter = self.meters[name]
        values = self.values(name)
        exchanges: list[Exchange] = []
        indications: list[Indication] = []
        at = now
        for number, query in enumerate(meter.queries, 1):
            exchange, read = self.exchange(bus, meter, query, values, number, at)
            exchanges.append(exchange)
            indications += read
            at = exchange.received
        return Scan(tuple(indications), tuple(exchanges), now, at)

    def exchange(
        self,
        bus: PreparedBus,
        meter: PreparedMeter,
        query: Query,
        values: dict[str, Decimal],
        n: int,
        at: Instant,
    ) -> tuple[Exchange, tuple[Indication, ...]]:
        codec = bus.codec
        request = codec.numbered(codec.request(meter.meter.address, query), n + self.random.randrange(1000))
        rounded = {}
        for point in query.points:
            step = point.scale if point.type and point.type not in ("f32", "f64") else Decimal("0.0001")
            value = values[point.measurand]
            rounded[point.measurand] = value if not point.type else (value / step).to_integral_value() * step
        answer = encode_answer(meter.profile, request, {**values, **rounded})
        decoder = codec.decoder()
        frame = next(f for f in (*decoder.feed(answer), *decoder.finish()) if not isinstance(f, Reject))
        read = decode(meter.profile, query, codec.match(request, frame))
        received = Instant(at.utc_us + 40_000 + self.random.randrange(9000), at.boot_us + 40_000)
        return Exchange(codec.encode(request), answer, at, received), read

    def silent(self, name: str, now: Instant) -> Scan:
        """A scan that nobody answered."""
        _, meter = self.meters[name]
        later = Instant(now.utc_us + S, now.boot_us + S)
        indications = [i for q in meter.queries for i in missing(q, Missing.TIMEOUT)]
        return Scan(tuple(indications), (Exchange(b"\1", b"", now, later, Missing.TIMEOUT),), now, later)

    def commit(self, *, seal: bool = True) -> None:
        """Make what is pending durable, under a new checkpoint."""
        if seal:
            self.line.seal(None)
        batch = self.line.take(checkpoint=seal)
        self.store.commit(batch.entries, sign if seal else None, batch.state)
        self.line.committed()

    def entries(self) -> list[tuple[int, bytes]]:
        """The log so far."""
        return list(self.store.entries(0))


def sign(size: int, root: bytes) -> bytes:
    return Checkpoint(ORIGIN, size, root).signed_by(SIGNER).encode()
