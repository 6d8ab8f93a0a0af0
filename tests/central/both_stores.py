"""The platform's store on either engine, as fixtures: what is tested with ``store`` is tested on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from central.holding import Holding
from central.postgres import PostgresStore
from central.store import Store
from tests.rigs import engines


@pytest.fixture(scope="module")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[engines.Postgres]:
    with engines.postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holding]:
    if request.param == "sqlite":
        with Store(tmp_path / "central") as opened:
            yield opened
        return
    server: engines.Postgres = request.getfixturevalue("postgres_server")
    with PostgresStore(server.database()) as held:
        yield held
