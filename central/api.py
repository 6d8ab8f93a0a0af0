"""The query API over HTTP: JSON in pages, CSV and Parquet whole, and its own description at ``/openapi.json``.

Reading only. Whoever asks shows a bearer token; of tokens, the platform keeps SHA-256 digests.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any, Final

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .export import Row, csv_text, parquet_file
from .openapi import document
from .query import INTERVAL, READING, AskedWrongly, Instrument, Quality, Questions, microseconds
from .store import StoreError
from .totals import NotAddable

PAGE: Final = 1000
MOST: Final = 50_000
_PIECE: Final = 256 * 1024


def application(questions: Questions, tokens: Collection[str] = ()) -> Starlette:
    """The ASGI application. ``tokens``: SHA-256 (hex) of each token that is admitted; none: whoever reaches it is."""

    def route(path: str, answer: Callable[[QueryParams], Response]) -> Route:
        # no coroutine: Starlette runs it in a thread, and the store blocks
        def endpoint(request: Request) -> Response:
            if tokens and not _admitted(request.headers.get("authorization", ""), tokens):
                headers = {"www-authenticate": "Bearer"}
                return JSONResponse({"error": "show a token: Authorization: Bearer …"}, 401, headers)
            try:
                return answer(request.query_params)
            except (AskedWrongly, NotAddable) as error:
                return JSONResponse({"error": str(error)}, 400)
            except StoreError as error:
                return JSONResponse({"error": str(error)}, 503)

        return Route(path, endpoint)

    asking = _Asking(questions)
    described = document(_version())
    return Starlette(
        routes=[
            route("/v1/gateways", asking.gateways),
            route("/v1/instruments", asking.instruments),
            route("/v1/readings", asking.readings),
            route("/v1/intervals", asking.intervals),
            route("/v1/total", asking.total),
            Route("/openapi.json", lambda _: JSONResponse(described)),
        ]
    )


class _Asking:
    """Query strings in, answers out."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def gateways(self, asked: QueryParams) -> Response:
        _only(asked)
        return JSONResponse(
            [
                {
                    "origin": g.origin,
                    "size": g.size,
                    "sealed_us": g.sealed_us,
                    "advanced_us": g.advanced_us,
                    "alarm": g.alarm,
                }
                for g in self._questions.store.gateways()
            ]
        )

    def instruments(self, asked: QueryParams) -> Response:
        _only(asked, "origin")
        return JSONResponse(self._questions.instruments(_needed(asked, "origin")))

    def readings(self, asked: QueryParams) -> Response:
        _only(asked, "instrument", "measurand", "from", "to", "quality", "after", "limit", "format")
        if len(asked.getlist("instrument")) > 1:
            raise AskedWrongly("readings are of one instrument; ask once for each")
        form = _choice(asked, "format", ("json", "csv", "parquet"))
        quality = Quality(_choice(asked, "quality", tuple(map(str, Quality))))
        instrument = Instrument.parse(_needed(asked, "instrument"))
        period = (_instant(asked, "from", 0), _instant(asked, "to", 2**53))
        after = _after(asked.get("after"))
        rows = self._questions.readings(instrument, asked.get("measurand"), *period, quality, after)
        if form != "json":
            return _file(form, READING, rows, "readings")
        limit = asked.get("limit", str(PAGE))
        digits = limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST))
        if not (digits and 1 <= int(limit) <= MOST):
            raise AskedWrongly(f"limit is a whole number from 1 to {MOST}")
        found: list[Row] = []
        following = None
        for row in rows:
            here = row["utc_us"], row["entry"]
            # all measurands of one reading stay on one page: ``next`` names a reading
            if len(found) >= int(limit) and here != (found[-1]["utc_us"], found[-1]["entry"]):
                following = f"{found[-1]['utc_us']}-{found[-1]['entry']}"
                break
            found.append(row)
        return JSONResponse({"rows": found, "next": following})

    def intervals(self, asked: QueryParams) -> Response:
        _only(asked, "instrument", "measurand", "from", "to", "superseded", "format")
        form = _choice(asked, "format", ("json", "csv", "parquet"))
        superseded = _choice(asked, "superseded", ("false", "true")) == "true"
        period = (_instant(asked, "from", 0), _instant(asked, "to", 2**53))
        rows = self._questions.intervals(
            _instruments(asked), _needed(asked, "measurand"), *period, superseded=superseded
        )
        if form != "json":
            return _file(form, INTERVAL, rows, "intervals")
        return JSONResponse({"rows": list(rows)})

    def total(self, asked: QueryParams) -> Response:
        _only(asked, "instrument", "measurand", "from", "to")
        begin = _instant(asked, "from", None)
        end = _instant(asked, "to", None)
        if begin is not None and end is not None and begin >= end:
            raise AskedWrongly("the period ends before it begins")
        found = self._questions.total(_instruments(asked), _needed(asked, "measurand"), begin, end)
        return JSONResponse(
            {
                "measurand": found.measurand,
                "unit": found.unit,
                "from_us": found.from_us,
                "to_us": found.to_us,
                "value": found.value,
                "u": found.u,
                "contributions": dict(found.contributions),
                "independent": found.independent,
                "intervals": found.intervals,
                "without_value": found.without_value,
                "missing": found.missing,
                "complete": found.complete,
                "uncovered_us": {f"{origin}::{name}": us for (origin, name), us in found.uncovered.items()},
                "flags": list(found.flags),
            }
        )


def _file(form: str, columns: tuple[str, ...], rows: Iterator[Row], name: str) -> Response:
    # The first row is asked for now: what is wrong with the question is said before the answer begins.
    first = next(rows, None)

    def all_rows() -> Iterator[Row]:
        if first is not None:
            yield first
            yield from rows

    attached = {"content-disposition": f'attachment; filename="{name}.{form}"'}
    if form == "csv":
        return StreamingResponse(
            csv_text(columns, all_rows()), media_type="text/csv; charset=utf-8", headers=attached
        )
    out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been sent
    try:
        parquet_file(columns, all_rows(), out)
    except ImportError:
        out.close()
        raise AskedWrongly("Parquet needs pyarrow, which is not installed here; ask for csv") from None
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return StreamingResponse(_sent(out), media_type="application/vnd.apache.parquet", headers=attached)


def _sent(out: IO[bytes]) -> Iterator[bytes]:
    with out:
        while piece := out.read(_PIECE):
            yield piece


def _admitted(header: str, tokens: Collection[str]) -> bool:
    scheme, _, token = header.partition(" ")
    digest = hashlib.sha256(token.strip().encode()).hexdigest()
    # each is compared, so that the time tells nothing
    return scheme.lower() == "bearer" and sum(hmac.compare_digest(digest, known) for known in tokens) > 0


def _only(asked: QueryParams, *known: str) -> None:
    """A misspelt parameter would silently widen the question."""
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise AskedWrongly(f"there is no parameter {unknown[0]}; known are: {', '.join(known) or 'none'}")
    for name, value in asked.multi_items():
        if "\0" in value:  # no name has one, and PostgreSQL takes none
            raise AskedWrongly(f"{name} has a NUL character")
        if name != "instrument" and len(asked.getlist(name)) > 1:
            raise AskedWrongly(f"{name} is given more than once")


def _needed(asked: QueryParams, name: str) -> str:
    value = asked.get(name)
    if not value:
        raise AskedWrongly(f"say {name}")
    return value


def _choice(asked: QueryParams, name: str, among: tuple[str, ...]) -> str:
    value = asked.get(name, among[0])
    if value not in among:
        raise AskedWrongly(f"{name} is one of {', '.join(among)}")
    return value


def _instant(asked: QueryParams, name: str, otherwise: Any) -> Any:
    value = asked.get(name)
    return otherwise if value is None else microseconds(value)


def _instruments(asked: QueryParams) -> list[Instrument]:
    found = [Instrument.parse(text) for text in asked.getlist("instrument")]
    if not found:
        raise AskedWrongly("say instrument, as ORIGIN::NAME")
    return found


def _after(text: str | None) -> tuple[int, int]:
    if text is None:
        return -1, -1
    parts = text.split("-")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and len(p) <= 16 for p in parts):
        raise AskedWrongly("after is the ``next`` of the answer before")
    return int(parts[0]), int(parts[1])


def _version() -> str:
    try:
        return version("suyuan")
    except PackageNotFoundError:
        return "0"
