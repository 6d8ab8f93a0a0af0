"""A pytest plugin: ``suyuan_site`` is a running simulated site, for tests of whatever reads meters.

    def test_my_reader(suyuan_site):
        shown = my_reader(suyuan_site.ports["rs485-1"])
        true = suyuan_site.truth("spinning", now_us)

The site lives in a thread of its own, so that a test may block or run an event loop, as it likes. Override
the fixture ``suyuan_site_spec`` to have another site, or faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sim.site import SimSite, SimSiteSpec


@pytest.fixture
def suyuan_site_spec(tmp_path: Path) -> SimSiteSpec:
    """The site that ``suyuan_site`` runs: the demo plant, its serial ports under the test's directory."""
    from sim.demo import demo_spec  # loaded when first used: the plugin itself costs a test run nothing

    return demo_spec(tmp_path / "ports", seed=1)


@pytest.fixture
def suyuan_site(suyuan_site_spec: SimSiteSpec) -> Iterator[SimSite]:
    """A running simulated site; its lines are closed after the test."""
    from sim.background import in_background
    from sim.site import SimSite

    with in_background(SimSite(suyuan_site_spec)) as site:
        yield site
