"""Where gateways enrol: ``POST /enrol`` with an application.

``200``: the answer as JSON. ``202``: it waits for the operator. ``4xx``: refused, with the reason as text. Clients have
no certificate yet, so this door asks for none; it gives away nothing that a stranger could use: a certificate is of the
key in an application that an approved log key has signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from evidence.enrolment import LIMIT

from .enrolment import EnrolmentRefused, Enrolments
from .registry import RegistryError
from .revoked_certificates import LedgerError
from .waiting import source_of

_BODY_S: Final = 20
_NOT_NOW: Final = "the platform cannot take it now\n"
_WAITS: Final = "waiting for the platform's operator to approve it\n"


def application(enrolments: Enrolments, report: Callable[[str], None] = lambda _: None) -> Starlette:
    """The ASGI application. ``report`` is told of what was refused."""

    async def enrol(request: Request) -> Response:
        body, host = b"", "" if request.client is None else request.client.host
        try:
            async with asyncio.timeout(_BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > LIMIT:
                        return PlainTextResponse(f"an enrolment has at most {LIMIT} bytes\n", 413)
        except (ClientDisconnect, TimeoutError):
            return PlainTextResponse("the body did not come whole\n", 408)
        try:
            answer = await run_in_threadpool(enrolments.take, body, source_of(host))
        except EnrolmentRefused as refused:
            report(f"enrolment refused: {refused}")
            if refused.status >= 500:  # ours to mend, and ours to know
                return PlainTextResponse(_NOT_NOW, refused.status)
            return PlainTextResponse(f"{refused}\n", refused.status)
        except (OSError, LedgerError, RegistryError) as error:
            report(f"enrolment: {error}")
            return PlainTextResponse(_NOT_NOW, 503)
        if answer is None:
            return PlainTextResponse(_WAITS, 202)
        return Response(answer.encode(), media_type="application/json")

    return Starlette(routes=[Route("/enrol", enrol, methods=["POST"])])
