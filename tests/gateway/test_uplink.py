"""A site file says where its log is pushed and how long it is kept; the agent goes on whatever the platform does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from central.receive import application
from central.store import Store
from evidence.note import Note
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.config import SiteFile
from gateway.mqtt import Broker
from gateway.push import Target
from gateway.receipts import PlatformKey
from gateway.toml_source import ConfigError
from gateway.uplink import push_to, targets
from tests.central.pushing import PLATFORM
from tests.evidence.logs import signer
from tests.gateway.test_config import SITE, site
from tests.gateway.test_push import mirror
from tests.rigs.agent_process import ORIGIN, SIGNER, plan
from tests.rigs.farm import Farm

KEY = PLATFORM.cosigner.vkey
PUSHED = f"""
[[platform]]
name = "centre"
key = "{KEY}"
push = "https://platform.example:8443/mirror"
ca = "ca.pem"
certificate = "tls/gateway.pem"
private_key = "tls/gateway.key"
rate = 64000

[[platform]]
name = "auditor"
key = "{KEY}"
"""


def with_platforms(text: str) -> str:
    return SITE.replace("[calibration]", text + "\n[calibration]")


def test_the_site_file_says_where_to_push_and_how_long_to_keep(tmp_path: Path) -> None:
    read = site(tmp_path, with_platforms(PUSHED).replace('commit = "1s"', 'keep = "90d"'))
    assert targets(read) == (
        Target(
            PlatformKey("centre", PLATFORM.cosigner),
            "https://platform.example:8443/mirror",
            tmp_path / "ca.pem",
            tmp_path / "tls/gateway.pem",
            tmp_path / "tls/gateway.key",
            64000,
        ),
    )
    assert read.site.log.keep == 90 * 86400


@pytest.mark.parametrize(
    ("own", "ca"), [("", "data/enrolment/platform-ca.pem"), ('ca = "other-ca.pem"\n', "other-ca.pem")]
)
def test_an_enrolled_gateway_shows_the_certificate_that_it_was_given(
    tmp_path: Path, own: str, ca: str
) -> None:
    text = f'[[platform]]\nname = "centre"\nkey = "{KEY}"\npush = "https://centre.example"\n{own}'
    read = site(tmp_path, with_platforms(text) + '\n[enrolment]\nurl = "https://centre.example:8444"\n')
    identity = read.data / "enrolment" / "identity.pem"
    identity.parent.mkdir(parents=True)
    identity.touch()
    (target,) = targets(read)
    assert isinstance(target, Target)
    assert (target.certificate, target.ca) == (identity, tmp_path / ca)


def test_a_broker_is_named_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("secret\n")
    text = f"""
[[platform]]
name = "cloud"
key = "{KEY}"
push = "mqtts://broker.example"
username = "gw"
password_file = "word"
mqtt = "3.1.1"
home_assistant = "homeassistant"
"""
    (broker,) = targets(site(tmp_path, with_platforms(text)))
    assert isinstance(broker, Broker)
    assert (broker.host, broker.port, broker.version) == ("broker.example", 8883, "3.1.1")
    assert broker.tls is not None
    assert (broker.username, broker.password, broker.home_assistant) == ("gw", "secret", "homeassistant")
    assert "secret" not in repr(broker)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (('name = "auditor"', 'name = "centre"'), "C133"),
        (('private_key = "tls/gateway.key"\n', ""), "C134"),
        (("https://platform", "ftp://platform"), "C105"),
        (("https://platform", "https://user:word@platform"), "C105"),
        (("rate = 64000", "rate = 1"), "C105"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    text = with_platforms(PUSHED.replace(*change))
    with pytest.raises(ConfigError) as refused:
        SiteFile(site_path(tmp_path, text))
    (problem,) = refused.value.problems
    assert problem.code == code
    assert problem.line > 1


def site_path(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


async def until(true) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the test's own waiting
            await asyncio.sleep(0.02)


async def test_an_agent_at_work_is_pushed_and_goes_on_while_its_platform_is_away(tmp_path: Path) -> None:
    from central.intake import Intake

    clock = SystemClock()
    with Store(tmp_path / "central") as store:
        keys = {ORIGIN: SIGNER.verifier}
        app = application(Intake(store, lambda: keys, PLATFORM, lambda: clock.now().utc_us))
        async with Farm(1) as farm:
            made = replace(
                plan(tmp_path / "gateway", 50_000, farm.ports, listen=""),
                platforms=(PlatformKey("centre", PLATFORM.cosigner),),
                commit_us=50_000,
                checkpoint_us=200_000,
            )
            agent = Agent(made, clock)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(agent.run())
                nowhere = Target(PlatformKey("nobody", PLATFORM.cosigner), "http://127.0.0.1:1")
                beside = [group.create_task(push_to(nowhere, agent, clock))]
                async with mirror(app) as url:
                    beside += [group.create_task(push_to(Target(made.platforms[0], url), agent, clock))]
                    await until(lambda: agent.begun and any(r.size > 20 for r in agent.receipts.newest))
                size = agent.store.size
                await until(
                    lambda: agent.store.size >= size + 10
                )  # the platform is away, the measuring goes on
                agent.stop()
                await running
                for task in beside:
                    task.cancel()
        (gateway,) = store.gateways()
        assert gateway.size >= 20


async def test_with_two_platforms_an_old_entry_goes_only_when_both_have_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("gateway.agent._CHECK_EVERY_US", 20_000)
    second = signer("second.example/receipts", 7)
    async with Farm(2) as farm:
        made = replace(
            plan(tmp_path, 10_000, farm.ports, listen=""),
            platforms=(PlatformKey("centre", PLATFORM.cosigner), PlatformKey("second", second.cosigner)),
            commit_us=50_000,
            checkpoint_us=200_000,
            keep_us=0,
        )
        agent = Agent(made, SystemClock())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            await until(lambda: agent.begun and agent.store.published is not None)
            await until(lambda: agent.store.published.size > 600)
            published = agent.store.published
            agent.receipts.take(Note.parse(published.note).cosigned_by(PLATFORM, 1_800_000_000).encode())
            size = agent.store.size
            await until(lambda: agent.store.size > size + 50)
            assert agent.store.first_bundle() == 0
            agent.receipts.take(Note.parse(published.note).cosigned_by(second, 1_800_000_000).encode())
            await until(lambda: agent.store.first_bundle() == published.size // 256)
            agent.stop()
            await running
