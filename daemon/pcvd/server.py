"""The daemon's door: HTTP with JSON. No logic: it asks the desk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pcvctl.render import render
from pcvd import jsontext
from pcvd.core.errors import PcvError, TargetError, UsageError
from pcvd.core.variation import named
from pcvd.desk import MOST_LISTED
from pcvd.inquiry import QUESTIONS, Now
from pcvd.store import StoreGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from pcvd.desk import Desk
    from pcvd.inquiry import Inquiry
    from pcvd.status import Status

log = structlog.get_logger()

_LONGEST_WAIT_S = 24 * 3600.0
_MOST_TICKETS = 1000
_MOST_AT_ONCE = 256
"""Of more targets than this, a document is sent piece by piece."""


class Door:
    """The HTTP application over one desk."""

    def __init__(
        self, desk: Desk, stop: Callable[[], None], tickets: Iterator[int], inquiry: Inquiry
    ) -> None:
        """`tickets` are numbers that no other door of this daemon has given out."""
        self._desk, self._stop, self._tickets = desk, stop, tickets
        self._inquiry = inquiry
        self._asked: dict[int, tuple[str, ...]] = {}
        """The targets that a recheck was asked for, by its ticket; what waits for it waits for them."""

    def application(self) -> Starlette:
        """Routes under /v1, and errors as JSON."""
        application = Starlette(
            routes=[
                Route("/v1/status", self.status),
                Route("/v1/targets", self.targets),
                Route("/v1/targets/{entry:path}/kernels", self.kernels),
                Route("/v1/targets/{entry:path}", self.target),
                *(Route(f"/v1/{question}", self.ask) for question in QUESTIONS),
                Route("/v1/recheck", self.recheck, methods=["POST"]),
                Route("/v1/wait", self.wait, methods=["POST"]),
                Route("/v1/vary", self.vary, methods=["POST"]),
                Route("/v1/stop", self.stop, methods=["POST"]),
                Route("/v1/events", self.events),
                Route("/metrics", self.metrics),
            ],
            exception_handlers={
                PcvError: _refused,
                msgspec.DecodeError: _unreadable,
                HTTPException: _unanswerable,
                Exception: _broken,
            },
        )
        application.router.redirect_slashes = False  # a redirection has no body that says what is wrong
        return application

    async def status(self, request: Request) -> Response:
        """The status, as JSON or as the rendered table; `?fresh=1` waits until nothing is pending, `?most=`
        lists no more targets than that: those that there is most to say of.
        """
        query = request.query_params
        entries = query.getlist("target")
        await self._desk.recovered()
        if query.get("fresh") == "1":
            await self._desk.look()
            await self._desk.settled(entries or None)
        else:
            await self._desk.glimpse()
        textual = "text/plain" in request.headers.get("accept", "")
        most = _whole(query.get("most"), MOST_LISTED, least=1, largest=1 << 30)
        brief = not entries and (textual or "most" in query)
        status = self._desk.brief(most) if brief else self._desk.status(entries)
        if not textual:
            return _answer(status)
        text = render(
            status.plain(),
            now=time.time(),
            width=_whole(query.get("width"), 100),
            color=query.get("color") == "1",
            unicode=query.get("unicode") == "1",
        )
        return PlainTextResponse(text, headers={"X-Pcv-Exit": str(status.exit_code)})

    async def targets(self, _request: Request) -> Response:
        """The names of all targets."""
        await self._desk.recovered()
        return JSONResponse({"targets": list(self._desk.entries)})

    async def target(self, request: Request) -> Response:
        """One target's part of the status."""
        await self._desk.recovered()
        return _answer(self._desk.status([request.path_params["entry"]]))

    async def kernels(self, request: Request) -> Response:
        """How a target is cut into kernels; `?policy=` names another policy than the settings do."""
        document = await self._desk.cut(request.path_params["entry"], request.query_params.get("policy"))
        return Response(jsontext.encode(document), media_type="application/json")

    async def ask(self, request: Request) -> Response:
        """What the records tell of one target: its explanation, a difference, its history, a reproduction."""
        await self._desk.recovered()
        asked = dict(request.query_params)
        target = asked.get("target", "")
        if request.url.path.endswith("/explain"):
            await self._desk.settled([target], explained=True)
        rows = self._desk.status([target]).plain()["targets"] if self._desk.exists(target) else []
        fresh = frozenset(row["target"] for row in rows if row["fresh"])
        now = Now(frozenset(self._desk.entries), fresh)
        document = await self._inquiry.answer(request.url.path.rpartition("/")[2], asked, now)
        return Response(jsontext.encode(document), media_type="application/json")

    async def recheck(self, request: Request) -> Response:
        """Have targets built again."""
        asked = await _body(request, _Recheck)
        ticket = next(self._tickets)
        self._asked[ticket] = await self._desk.recheck(asked.targets)
        self._asked.pop(ticket - _MOST_TICKETS, None)
        return JSONResponse({"ticket": ticket, "targets": list(self._asked[ticket])}, 202)

    async def wait(self, request: Request) -> Response:
        """The status once nothing is pending for the given targets (none given: for any), or 408 when the
        time is over.
        """
        asked = await _body(request, _Wait)
        entries = None
        if asked.ticket is not None:
            if asked.ticket not in self._asked:
                raise UsageError(
                    f"there is no ticket {asked.ticket}: tickets end with the records they are about",
                    hint="ask again, or wait without one, for everything",
                )
            entries = self._asked[asked.ticket]
        code = 200
        await self._desk.look()
        try:
            async with asyncio.timeout(_LONGEST_WAIT_S if asked.timeout_s is None else asked.timeout_s):
                await self._desk.settled(entries, explained=asked.explained, whole=asked.whole)
        except TimeoutError:
            code = 408
        # A target may have gone while it was waited for.
        left = [entry for entry in entries or () if self._desk.exists(entry)]
        return _answer(self._desk.status(left), code)

    async def vary(self, request: Request) -> Response:
        """Find out what variations change in targets, whether they differ or not; then their status."""
        asked = await _body(request, _Vary)
        named(asked.variations)
        await self._desk.settled(asked.targets)
        await self._desk.vary(asked.targets, asked.variations)
        return _answer(self._desk.status(asked.targets))

    async def stop(self, _request: Request) -> Response:
        """Shut down in order, after the answer has gone out."""
        asyncio.get_running_loop().call_soon(self._stop)
        return JSONResponse({"stopping": True}, 202)

    async def events(self, _request: Request) -> Response:
        """The status now and after every change, as server-sent events."""

        async def stream() -> AsyncIterator[str]:
            with contextlib.suppress(PcvError):  # over, with the work it tells of
                async for status in self._desk.news():
                    yield f"event: status\ndata: {status.encoded().decode()}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def metrics(self, _request: Request) -> Response:
        """Counts for a scraper, in the Prometheus text format."""
        document = self._desk.brief(0).head
        lines = ["# TYPE pcv_targets gauge"]
        lines += [
            f'pcv_targets{{verdict="{name}"}} {count}'
            for name, count in document["summary"].items()
            if name != "targets"
        ]
        lines += ["# TYPE pcv_up gauge", f'pcv_up{{state="{document["daemon"]["state"]}"}} 1']
        lines += ["# TYPE pcv_speed_up gauge"]
        lines += [
            f'pcv_speed_up{{schedule="{name}"}} {value}' for name, value in document["speed"].items() if value
        ]
        return PlainTextResponse("\n".join(lines) + "\n")


class _Recheck(msgspec.Struct, forbid_unknown_fields=True):
    targets: list[str] | None = None


class _Vary(msgspec.Struct, forbid_unknown_fields=True):
    targets: list[str]
    variations: list[str]


class _Wait(msgspec.Struct, forbid_unknown_fields=True):
    ticket: int | None = None
    timeout_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    explained: bool = False
    """Until it is known as well what differences come from."""
    whole: bool = False
    """Until all was built under every schedule."""


async def _body(request: Request, kind: type[Any]) -> Any:
    return msgspec.json.decode(await request.body() or b"{}", type=kind)


def _answer(status: Status, code: int = 200) -> Response:
    headers = {"X-Pcv-Exit": str(status.exit_code)}
    if len(status.targets) > _MOST_AT_ONCE:
        return StreamingResponse(_batches(status), code, headers, media_type="application/json")
    return Response(status.encoded(), code, headers, media_type="application/json")


async def _batches(status: Status) -> AsyncIterator[bytes]:
    """The document in pieces of some size, with a turn for others in between."""
    batch: list[bytes] = []
    for piece in status.pieces():
        batch.append(piece)
        if len(batch) > _MOST_AT_ONCE:
            yield b"".join(batch)
            batch.clear()
    yield b"".join(batch)


def _whole(text: str | None, default: int, *, least: int = 40, largest: int = 400) -> int:
    return max(least, min(int(text), largest)) if text and text.isascii() and text.isdigit() else default


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PcvError)
    # 503: another life of this daemon will answer, at the same socket.
    match error:
        case UsageError():
            code = 404
        case TargetError():
            code = 422
        case StoreGone():
            code = 503
        case _:
            code = 500
    return _trouble(error, code)


async def _broken(request: Request, error: Exception) -> Response:
    log.error("a request failed", request=f"{request.method} {request.url.path}", exc_info=error)
    return _trouble(
        PcvError(f"{type(error).__name__}: {error}", hint="a fault of pcv: see `pcvctl logs`"), 500
    )


async def _unreadable(_request: Request, error: Exception) -> Response:
    return _trouble(UsageError(f"the request's body is not what is asked for: {error}"), 400)


async def _unanswerable(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    asking = ", ".join(f"/v1/{question}" for question in QUESTIONS)
    hint = (
        f"GET /v1/status, /v1/targets, {asking}, /v1/events, /metrics; POST /v1/recheck, /v1/wait, /v1/stop"
    )
    return _trouble(UsageError(message, hint=hint), error.status_code)


def _trouble(error: PcvError, code: int) -> Response:
    return Response(jsontext.trouble(error), code, media_type="application/json")
