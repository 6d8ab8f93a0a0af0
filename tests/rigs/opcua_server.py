"""An OPC UA server of somebody else's make (asyncua) with one meter's nodes, for as long as it is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole

URI = "urn:plant.example:meters"


@dataclass
class Users:
    """Lets one user in, with the right password."""

    name: str
    password: str

    def get_user(self, iserver, username=None, password=None, certificate=None) -> User | None:
        said = password.decode() if isinstance(password, bytes) else password
        return User(role=UserRole.User) if (username, said) == (self.name, self.password) else None


@dataclass
class MeterServer:
    """A running server: ``namespace`` is the index that it gave to ``URI`` this time."""

    server: Server
    namespace: int

    async def tell(
        self,
        name: str,
        value: object,
        at: datetime | None,
        *,
        kind: str = "Double",
        status: int = 0,
    ) -> None:
        """A node's new value, with its StatusCode and SourceTimestamp."""
        node = self.server.get_node(ua.NodeId(name, self.namespace))
        variant = ua.Variant(value, ua.VariantType[kind])
        # not by write_value: that leaves out the value of a bad status, and puts its own time where there is none
        told = ua.DataValue(variant, ua.StatusCode(status), at, at)
        await self.server.iserver.aspace.write_attribute_value(node.nodeid, ua.AttributeIds.Value, told)


@contextlib.asynccontextmanager
async def meter_server(
    port: int,
    nodes: dict[str, str],
    *,
    before: int = 0,
    users: Users | None = None,
    files: tuple[Path, Path] | None = None,
) -> AsyncIterator[MeterServer]:
    """``nodes``: names and types. ``before``: so many other namespaces come first. ``files``: certificate and key."""
    server = Server(user_manager=users)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/meters")
    if files is not None:
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        await server.load_certificate(str(files[0]))
        await server.load_private_key(str(files[1]), format="pem")
    else:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    for n in range(before):
        await server.register_namespace(f"urn:other.example:{n}")
    namespace = await server.register_namespace(URI)
    for name, kind in nodes.items():
        start = ua.Variant(0, ua.VariantType[kind])
        await server.nodes.objects.add_variable(ua.NodeId(name, namespace), name, start)
    meters = MeterServer(server, namespace)
    for name, kind in nodes.items():
        waiting = ua.StatusCodes.BadWaitingForInitialData
        await meters.tell(name, 0, datetime(2026, 1, 1, tzinfo=UTC), kind=kind, status=waiting)
    async with server:
        yield meters
