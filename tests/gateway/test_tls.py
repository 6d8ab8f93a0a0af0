"""The log over HTTPS with certificates on both sides, renewed while it is served."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl

import httpx
import pytest

from central.collect import Collector
from central.fetch import CLOSED, Patience
from central.store import Store
from gateway.clock import SetClock
from gateway.receipts import PlatformKey, Receipts
from gateway.serve import application, listening, serve
from gateway.store import LogStore
from gateway.tls import ClientTls, ServerTls, TlsError, TlsFiles
from tests.central.pushing import PLATFORM, grow
from tests.evidence.logs import ORIGIN, START_US, Writer
from tests.rigs import authority

KEY = PlatformKey("platform", PLATFORM.cosigner)


@contextlib.asynccontextmanager
async def served(log, tls):
    """The gateway's own server at an address of its own."""
    stop, sock = asyncio.Event(), listening("127.0.0.1:0")
    app = application(log, Receipts(log, [KEY], SetClock()), lambda: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, sock, stop, tls.context))
        try:
            yield f"https://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            stop.set()
    sock.close()


@pytest.fixture
def log(tmp_path):
    store = LogStore(tmp_path / "gateway", ORIGIN, ballast=0)
    yield store
    store.close()


def first(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    return authority.issue(tmp_path)


async def issuer(url, ca, client):
    """Whose certificate is shown in a new connection, and whether ours was taken."""
    context = ClientTls(TlsFiles(*client, ca)).context
    async with (
        httpx.AsyncClient(verify=context, trust_env=False) as http,
        http.stream("GET", f"{url}/checkpoint") as answer,
    ):
        found = answer.extensions["network_stream"].get_extra_info("ssl_object")
        return found.getpeercert(binary_form=True)


def pulling(central, url, files):
    return Collector(
        central, url, Writer().signer.verifier, lambda: START_US, PLATFORM,
        patience=Patience(attempts=1), tls=ClientTls(files).context,
    )  # fmt: skip


async def test_a_platform_with_a_certificate_pulls_and_its_receipt_is_taken_others_stay_outside(
    tmp_path, log
):
    writer = Writer()
    grow(log, writer, 700)
    ca, server, client, stranger = first(tmp_path / "ca")
    with Store(tmp_path / "platform") as central:
        async with served(log, ServerTls(TlsFiles(*server, ca))) as url:
            for files in (TlsFiles(*stranger, ca), TlsFiles(ca=ca)):
                outside = pulling(central, url, files)
                outcome = await outside.collect_once()
                await outside.close()
                assert not outcome.ok
                assert CLOSED in outcome.error, "a person is told what to look for"
                assert outcome.size == 0
            inside = pulling(central, url, TlsFiles(*client, ca))
            outcome = await inside.collect_once()
            await inside.close()
        assert outcome.ok, outcome
        assert outcome.receipt
        (gateway,) = central.gateways()
        assert list(central.entries(gateway)) == writer.entries
    assert [receipt.size for receipt in log.receipts()] == [writer.size]


async def test_the_certificate_must_bear_the_name_that_is_asked_for(tmp_path, log):
    grow(log, Writer(), 10)
    ca, server, client, _ = first(tmp_path / "ca")
    with Store(tmp_path / "platform") as central:
        async with served(log, ServerTls(TlsFiles(*server, ca))) as url:
            made = pulling(central, url, TlsFiles(*client, ca))
            made.tls_name = "another.gateway.example"
            outcome = await made.collect_once()
            await made.close()
    assert "match" in outcome.error
    assert outcome.size == 0


async def test_nothing_older_than_tls_1_3_is_spoken(tmp_path, log):
    ca, server, client, _ = first(tmp_path / "ca")
    old = ssl.create_default_context(cafile=str(ca))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(*client)
    async with (
        served(log, ServerTls(TlsFiles(*server, ca))) as url,
        httpx.AsyncClient(verify=old, trust_env=False) as http,
    ):
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/checkpoint")


async def test_renewed_certificates_count_from_the_next_connection_on_and_none_is_dropped(tmp_path, log):
    grow(log, Writer(), 10)
    old, new = first(tmp_path / "old"), first(tmp_path / "new")
    live = [tmp_path / name for name in ("server.pem", "server.key", "ca.pem")]
    told = []

    def lay(ca, server):
        for source, target in zip((*server, ca), live, strict=True):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").replace(target)

    lay(old[0], old[1])
    async with served(log, ServerTls(TlsFiles(*live), told.append)) as url:
        context = ClientTls(TlsFiles(*old[2], old[0])).context
        async with httpx.AsyncClient(verify=context, trust_env=False) as lasting:
            assert (await lasting.get(f"{url}/checkpoint")).status_code == 200
            before = await issuer(url, old[0], old[2])

            shutil.copy(new[1][1], live[1])  # the new key with the old certificate: half a renewal
            assert await issuer(url, old[0], old[2]) == before, "the old set serves on"
            assert len(told) == 1
            assert "does not belong to the certificate" in told[0]

            lay(new[0], new[1])
            assert await issuer(url, new[0], new[2]) != before
            assert (await lasting.get(f"{url}/checkpoint")).status_code == 200, "the connection lives on"
        with pytest.raises(httpx.TransportError):
            await issuer(url, new[0], old[2])  # whom the old authority vouched for gets in no more
    assert len(told) == 1


async def test_a_client_shows_its_renewed_certificate_and_keeps_the_old_one_if_the_new_is_wrong(
    tmp_path, log
):
    grow(log, Writer(), 10)
    ca, server, client, stranger = first(tmp_path / "ca")
    mine = tmp_path / "mine.pem", tmp_path / "mine.key"
    for source, target in zip(stranger, mine, strict=True):
        shutil.copy(source, target)
    tls = ClientTls(TlsFiles(*mine, ca))
    assert tls.refresh() == ""

    async def asked(url):
        async with httpx.AsyncClient(verify=tls.context, trust_env=False) as http:
            return (await http.get(f"{url}/checkpoint")).status_code

    async with served(log, ServerTls(TlsFiles(*server, ca))) as url:
        with pytest.raises(httpx.TransportError):
            await asked(url)
        for source, target in zip(client, mine, strict=True):
            shutil.copy(source, target)
        assert tls.refresh() == ""
        assert await asked(url) == 200
        mine[1].write_text("no key\n")
        assert str(mine[1]) in tls.refresh()
        assert await asked(url) == 200


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: f.certificate.unlink(), "cannot be read"),
        (lambda f: f.private_key.write_text("x"), "no certificate with its key in PEM"),
        (lambda f: f.certificate.write_text("x"), "no certificate with its key in PEM"),
        (lambda f: f.ca.write_text("x"), "holds no certificate in PEM"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_name(tmp_path, spoil, told):
    ca, server, _, _ = authority.issue(tmp_path)
    files = TlsFiles(*server, ca)
    spoil(files)
    for made in (ServerTls, ClientTls):
        with pytest.raises(TlsError, match=told) as error:
            made(files)
        assert str(tmp_path) in str(error.value)
