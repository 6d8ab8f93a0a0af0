"""Values that an OPC UA server notifies: one subscription per server, put together per instrument and period.

Each node is monitored for changes of its value, its StatusCode and its SourceTimestamp; a server that cannot filter so
is asked without the filter. A node that tells nothing new in a period, not even a newer time, is missing there: the
last value is not told again.

The connection is made again for ever, later each time; what was not heard meanwhile is missing and said to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties

from drivers import opcua_points
from drivers.codec import Counts, Instant
from drivers.opcua_points import Notification
from gateway.opcua_access import Access
from gateway.opcua_gathering import Gathering, Monitored
from gateway.pushed import Deliver, Delivery
from gateway.supervision import together

_log = logging.getLogger("suyuan.opcua")
# The library writes a stack trace for each lost connection, and what it was sent at INFO: we say it in one line.
logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_TIMEOUT_S = 10.0
_ALIVE_S = 5.0  # how often it is looked whether the server still answers
_SESSION_MS = 120_000  # after which a server forgets a client that is gone
_QUEUE = 16  # notifications of a node that the server keeps for one message
_LOOK_US = 1_000_000  # UTC may be stepped: look again soon
_NO_FILTER = (
    ua.StatusCodes.BadMonitoredItemFilterInvalid,
    ua.StatusCodes.BadMonitoredItemFilterUnsupported,
    ua.StatusCodes.BadFilterNotAllowed,
)


def notification(node: str, told: ua.DataValue) -> Notification:
    """A DataValue as it is recorded. What the server leaves out of one has the meaning of the standard."""
    variant = told.Value
    kind = "Null" if variant is None else str(variant.VariantType.name)
    value = ""
    if variant is not None and (variant.is_array or isinstance(variant.Value, list)):
        kind += "[]"
    elif variant is not None:
        value = opcua_points.value_text(kind, variant.Value)
    if kind != "Null" and not value and kind in (*opcua_points.INTEGERS, *opcua_points.FLOATS, "Boolean"):
        kind = "Null"
    status = 0 if told.StatusCode is None else int(told.StatusCode.value)
    return Notification(
        node, kind, value, status & 0xFFFFFFFF, opcua_points.timestamp_us(told.SourceTimestamp)
    )


class _Hearing:
    """What the library calls with what the server says. Takes note and returns at once."""

    def __init__(self, take: Callable[[str, Any], None], names: dict[Any, list[str]], lost: asyncio.Event):
        self._take, self._names, self._lost = take, names, lost

    def datachange_notification(self, node: Any, _value: Any, data: Any) -> None:
        for name in self._names.get(node.nodeid, ()):
            self._take(name, data.monitored_item.Value)

    def status_change_notification(self, _status: Any) -> None:
        self._lost.set()  # the server has ended the subscription


@dataclass(slots=True)
class OpcuaSubscriber:
    """Holds one session with a server and hands over what it notifies."""

    access: Access
    monitored: tuple[Monitored, ...]
    now: Callable[[], Instant]
    waits_s: tuple[float, ...] = _WAITS_S
    counts: Counts = field(default_factory=Counts)
    connected: bool = False
    _gatherings: tuple[Gathering, ...] = ()
    _by_node: dict[str, list[Gathering]] = field(default_factory=dict)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> str:
        """The server."""
        return self.access.url

    async def run(self, deliver: Deliver) -> None:
        """Listen until cancelled; connect again whenever the connection is lost."""
        self._gatherings = tuple(Gathering(monitored) for monitored in self.monitored)
        self._by_node = {}
        for gathering in self._gatherings:
            gathering.begin(self.now().utc_us)
            for node in gathering.of.nodes:
                self._by_node.setdefault(node, []).append(gathering)
        await together(self._listen(), self._hand_over(deliver))

    async def look(self) -> dict[str, Notification | str]:
        """What each node says now, or why it says nothing. OSError if the server cannot be entered."""
        nodes = [node for monitored in self.monitored for node in monitored.nodes]
        async with self._session() as client:
            known = await _resolved(client, nodes)
            told: dict[str, Notification | str] = {
                node: f"the server has no namespace {opcua_points.namespace(node)[0]}"
                for node in nodes
                if node not in known
            }
            values = await client.uaclient.read_attributes(list(known.values()), ua.AttributeIds.Value)
            for node, value in zip(known, values, strict=True):
                told[node] = notification(node, value)
        return told

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                lost = asyncio.Event()
                async with self._session(lost) as client:
                    for gathering in self._gatherings:
                        gathering.connected()
                    await self._subscribe(client, lost)
                    self.connected, failures = True, 0
                    _log.info("%s: subscribed to %d nodes", self.describe(), len(self._by_node))
                    await lost.wait()
                    raise OSError("the server has ended the connection or the subscription")
            except OSError as error:
                _log.warning("%s: %s", self.describe(), error)
                self.counts.add("", "link_down")
            finally:
                self.connected = False
            await asyncio.sleep(self.waits_s[min(failures, len(self.waits_s) - 1)])
            failures += 1

    @contextlib.asynccontextmanager
    async def _session(self, lost: asyncio.Event | None = None) -> AsyncIterator[Client]:
        """A session with the server. OSError, with a reason for people, whatever it is that fails."""
        client: Client | None = None
        try:
            client = await _client(self.access)
            if lost is not None:
                client.connection_lost_callback = _setter(lost)
            async with asyncio.timeout(2 * _TIMEOUT_S):
                await client.connect()
            yield client
        except Exception as error:  # a library between us and anything that may answer at that port
            raise OSError(_reason(error)) from error
        finally:
            if client is not None:
                await _left(client)

    async def _subscribe(self, client: Client, lost: asyncio.Event) -> None:
        known = await _resolved(client, self._by_node)
        for node in self._by_node:
            if node not in known:
                self._refused(node, f"the server has no namespace {opcua_points.namespace(node)[0]}")
        names: dict[Any, list[str]] = {}
        for node, resolved in known.items():
            names.setdefault(resolved, []).append(node)
        sampling_us = min(monitored.sampling_us for monitored in self.monitored)
        hearing = _Hearing(self._take, names, lost)
        subscription = await client.create_subscription(sampling_us / 1000, hearing)
        wanted = list(names)
        results = await subscription.create_monitored_items(self._items(wanted, names, 1, filtered=True))
        refused = [node for node, result in zip(wanted, results, strict=True) if _code(result) in _NO_FILTER]
        again = (
            await subscription.create_monitored_items(
                self._items(refused, names, 1 + len(wanted), filtered=False)
            )
            if refused
            else []
        )
        for node, result in (*zip(wanted, results, strict=True), *zip(refused, again, strict=True)):
            if isinstance(result, ua.StatusCode) and _code(result) not in _NO_FILTER:
                for name in names[node]:
                    self._refused(name, result.name)

    def _items(
        self, nodes: Sequence[Any], names: dict[Any, list[str]], handle: int, *, filtered: bool
    ) -> list[Any]:
        made = []
        for n, node in enumerate(nodes, handle):
            wanted = ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value)
            sampling_us = min(g.of.sampling_us for name in names[node] for g in self._by_node[name])
            parameters = ua.MonitoringParameters(
                ClientHandle=n, SamplingInterval=sampling_us / 1000, QueueSize=_QUEUE, DiscardOldest=True
            )
            if filtered:
                parameters.Filter = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
            made.append(
                ua.MonitoredItemCreateRequest(
                    ItemToMonitor=wanted,
                    MonitoringMode=ua.MonitoringMode.Reporting,
                    RequestedParameters=parameters,
                )
            )
        return made

    def _refused(self, node: str, why: str) -> None:
        for gathering in self._by_node[node]:
            self.counts.add(gathering.of.instrument, "node_refused")
        _log.warning("%s: %s is not told: %s", self.describe(), node, why)

    def _take(self, node: str, value: Any) -> None:
        told, at = notification(node, value), self.now()
        for gathering in self._by_node[node]:
            cause = gathering.take(told, at)
            if cause:
                self.counts.add(gathering.of.instrument, cause)
        self._heard.set()

    async def _hand_over(self, deliver: Deliver) -> None:
        """Deliver each slot once it is complete or over. Those of one moment wait for the same COMMIT together."""
        while True:
            self._heard.clear()
            now_us = self.now().utc_us
            ready = [delivery for gathering in self._gatherings for delivery in gathering.ready(now_us)]
            if ready:
                try:
                    async with asyncio.TaskGroup() as group:
                        for delivery in ready:
                            group.create_task(_delivered(deliver, delivery))
                except ExceptionGroup as failed:
                    raise failed.exceptions[0] from None
                continue
            due = [us for gathering in self._gatherings if (us := gathering.next_us) is not None]
            wait_us = min(max(min(due, default=now_us + _LOOK_US) - now_us, 1000), _LOOK_US)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_us / 1e6):
                    await self._heard.wait()


async def _delivered(deliver: Deliver, delivery: Delivery) -> None:
    await deliver(delivery)


async def _left(client: Client) -> None:
    """Close the session, if the server still listens, and the socket."""
    try:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_TIMEOUT_S / 2):
                await client.disconnect()
    finally:
        client.disconnect_socket()


def _setter(event: asyncio.Event) -> Callable[[Exception], Any]:
    async def lost(_: Exception) -> None:
        event.set()

    return lost


async def _client(access: Access) -> Client:
    client = Client(access.url, timeout=_TIMEOUT_S, watchdog_intervall=_ALIVE_S)
    client.name = client.description = "Suyuan"
    client.session_timeout = _SESSION_MS
    if access.username:
        client.set_user(access.username)
        client.set_password(access.password)
    secured = access.secured
    if secured is not None:
        client.application_uri = secured.application_uri
        await client.set_security(
            getattr(security_policies, f"SecurityPolicy{secured.policy}"),
            CertProperties(secured.certificate, "der"),
            CertProperties(secured.private_key, "der"),
            server_certificate=CertProperties(secured.server_certificate, "der"),
            mode=ua.MessageSecurityMode[secured.mode],
        )
    return client


async def _resolved(client: Client, nodes: Iterable[str]) -> dict[str, Any]:
    """The node ids as this server numbers their namespaces; those whose namespace it does not have are left out."""
    spaces: list[str] = await client.get_namespace_array()
    found: dict[str, Any] = {}
    for node in nodes:
        space, rest = opcua_points.namespace(node)
        if space.startswith("ns="):
            found[node] = ua.NodeId.from_string(node)
        elif space in spaces:
            found[node] = ua.NodeId.from_string(f"ns={spaces.index(space)};{rest}")
    return found


def _code(result: Any) -> int:
    return int(result.value) if isinstance(result, ua.StatusCode) else 0


def _reason(error: Exception) -> str:
    if isinstance(error, ua.UaStatusCodeError):
        return f"the server refuses: {ua.StatusCode(error.code).name}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{str(error) or type(error).__name__}"
