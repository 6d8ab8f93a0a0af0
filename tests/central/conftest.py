"""A PostgreSQL server per module, and a store in a fresh database of it."""

from __future__ import annotations

import pytest

from central.postgres import PostgresStore
from tests.rigs import engines


@pytest.fixture(scope="module")
def server():
    with engines.postgres() as running:
        yield running


@pytest.fixture
def url(server):
    return server.database()


@pytest.fixture
def store(url):
    with PostgresStore(url) as opened:
        yield opened
