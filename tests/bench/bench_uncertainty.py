"""The total of a plant's meters with full correlation, beside GTC and uncertainties; and Monte Carlo trials.

    python -m tests.bench.bench_uncertainty [--meters 200] [--readings 2880] [--sample 10]

Every reading is energy times (reference standard, the meter's calibration, its CT) plus its own resolution; all
readings share the reference, a meter's readings share its calibration and CT. The object-per-reading libraries run on
the first ``--sample`` meters; their time for all is scaled by the number of readings, which flatters them where they
grow faster. Equal results are asserted on that sample. Monte Carlo: five inputs, 10^6 trials, beside plain numpy.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import GTC
import numpy as np
import uncertainties

from calibration.accumulator import Accumulator
from calibration.budget import budget
from calibration.distributions import Quantity
from calibration.uncertainty import Uncertain, total

U_REF, U_CT, U_RES = 0.00025, 0.001, 0.01 / 12**0.5


def timed(work: Callable[[], Any], repeat: int = 5) -> tuple[float, Any]:
    """Median seconds, and the result."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2], result


def every_reading(energy: np.ndarray, u_cal: np.ndarray) -> Uncertain:
    """Each reading carries all its contributions."""
    meters = []
    for m, e in enumerate(energy):
        contributions = {"ref": U_REF * e, f"cal{m}": u_cal[m] * e, f"ct{m}": U_CT * e}
        meters.append(Uncertain(e, contributions, U_RES**2).sum())
    return total(meters)


def factors_last(energy: np.ndarray, u_cal: np.ndarray) -> Uncertain:
    """What is the same for all readings of a meter is applied to its total."""
    sums = Uncertain(energy, {}, U_RES**2).sum(axis=1)
    return total(
        sums[m] * Uncertain(1.0, {"ref": U_REF, f"cal{m}": u, f"ct{m}": U_CT})
        for m, u in enumerate(u_cal.tolist())
    )


def closed_form(energy: np.ndarray, u_cal: np.ndarray) -> tuple[float, float]:
    """The formula by hand: no library could be faster."""
    sums = energy.sum(axis=1)
    u2 = (
        (U_REF * sums.sum()) ** 2
        + ((u_cal * sums) ** 2).sum()
        + ((U_CT * sums) ** 2).sum()
        + energy.size * U_RES**2
    )
    return float(sums.sum()), float(np.sqrt(u2))


def streamed(energy: np.ndarray, u_cal: np.ndarray) -> Uncertain:
    """One reading at a time into an accumulator per meter, as a gateway does."""
    meters = []
    for m, row in enumerate(energy.tolist()):
        running = Accumulator()
        u = float(u_cal[m])
        for n, e in enumerate(row):
            running.add(
                Uncertain(e, {"ref": U_REF * e, f"cal{m}": u * e, f"ct{m}": U_CT * e}, U_RES**2), number=n
            )
        meters.append(running.result())
    return total(meters)


def tree(terms: Sequence[Any]) -> Any:
    """Pairwise sum: what suits libraries that keep an expression or copy component vectors."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def by_objects(energy: np.ndarray, u_cal: np.ndarray, make: Callable[[float, float], Any]) -> Any:
    """One object of another library per reading."""
    ref = make(1.0, U_REF)
    meters = []
    for m, row in enumerate(energy.tolist()):
        factor = ref * make(1.0, float(u_cal[m])) * make(1.0, U_CT)
        meters.append(tree([(make(e, U_RES)) * factor for e in row]))
    return tree(meters)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--meters", type=int, default=200)
    options.add_argument("--readings", type=int, default=2880)
    options.add_argument("--sample", type=int, default=10)
    chosen = options.parse_args()
    rng = np.random.default_rng(7)
    energy = rng.uniform(5, 50, (chosen.meters, chosen.readings))
    u_cal = rng.uniform(5e-4, 1e-3, chosen.meters)
    sample, u_sample = energy[: chosen.sample], u_cal[: chosen.sample]
    scale = energy.size / sample.size

    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    print(
        f"total of {chosen.meters} meters x {chosen.readings} readings = {energy.size} readings, full correlation"
    )
    formula, (y, u) = timed(lambda: closed_form(energy, u_cal))
    rows: list[tuple[str, float, float, str]] = [("numpy formula by hand", formula, u / y, "")]
    for name, work in (
        ("ours, factors on the total", factors_last),
        ("ours, all on every reading", every_reading),
    ):
        seconds, result = timed(lambda work=work: work(energy, u_cal))
        rows.append((name, seconds, result.u / result.y, ""))
        assert abs(result.u / u - 1.0) < 1e-12, name
    expected = every_reading(sample, u_sample)
    note = f"measured on {len(sample)} meters, x {scale:g}"
    seconds, result = timed(lambda: streamed(sample, u_sample), 1)
    assert abs(result.u / expected.u - 1.0) < 1e-12
    rows.append(("ours, one by one (streaming)", seconds * scale, float("nan"), note))
    others: tuple[tuple[str, Callable[[float, float], Any], Callable[[Any], float]], ...] = (
        ("GTC " + GTC.version, GTC.ureal, GTC.uncertainty),
        ("uncertainties " + uncertainties.__version__, uncertainties.ufloat, lambda v: float(v.s)),
    )
    for name, make, spread in others:
        began = time.perf_counter()
        theirs = spread(by_objects(sample, u_sample, make))
        seconds = time.perf_counter() - began
        assert abs(theirs / expected.u - 1.0) < 1e-12, name
        rows.append((name, seconds * scale, float("nan"), note))
    for name, seconds, relative, remark in rows:
        shown = f"{relative:.6e}" if relative == relative else "equal u"
        print(f"  {name:<32}{seconds * 1e3:>12.2f} ms   u_rel {shown:<14}{remark}")

    inputs = [
        Quantity("a", 10.0, 0.1),
        Quantity("b", 2.0, 0.02, "uniform"),
        Quantity("c", 3.0, 0.03, "triangular"),
        Quantity("d", 1.0, 0.01, dof=9.0),
        Quantity("e", 0.0, 0.05, "arcsine"),
    ]
    print("Monte Carlo, a*b/c*d + e, 10^6 trials, with both intervals and the comparison of JCGM 101 8.1")
    seconds, found = timed(lambda: budget("a*b/c*d + e", inputs, method="mc", trials=1_000_000), 3)
    print(f"  {'ours':<32}{seconds * 1e3:>12.2f} ms   u {found.u:.6f}")
    seconds, _ = timed(lambda: plain_monte_carlo(1_000_000), 3)
    print(f"  {'numpy by hand (draw, sort)':<32}{seconds * 1e3:>12.2f} ms")


def plain_monte_carlo(n: int) -> np.ndarray:
    """The same draws and model in bare numpy, sorted."""
    rng = np.random.default_rng(1)
    root = 3.0**0.5
    a = rng.normal(10.0, 0.1, n)
    b = rng.uniform(2.0 - 0.02 * root, 2.0 + 0.02 * root, n)
    c = rng.triangular(3.0 - 0.03 * 6**0.5, 3.0, 3.0 + 0.03 * 6**0.5, n)
    d = 1.0 + 0.01 * rng.standard_t(9.0, n)
    e = 0.05 * 2**0.5 * np.sin(2 * np.pi * rng.random(n))
    return np.sort(a * b / c * d + e)


if __name__ == "__main__":
    main()
