"""The daemon's door from outside: one HTTP/1.1 request over its Unix socket, one answer, by raw sockets.

Light by rule: on the path of `pcvctl status`, so no socket, http or urllib. The daemon is the only server
this ever talks to, but it may hang, die in the middle of an answer or be of another version: nothing it sends
is taken on trust.
"""

from __future__ import annotations

import _socket
import os
import time

from pcvctl import Trouble

ANSWER_S = 10.0
"""How long the daemon may take over an answer that needs no building."""

_BEGINNING = 503
_PAUSE_S = 0.05
_HEAD_LIMIT = 65536  # bytes of status line and headers
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:")


class DoorError(Trouble):
    """The daemon refused, gave no answer, or gave one that makes no sense."""


class _HungUp(DoorError):
    """The daemon closed the connection before it said a word."""


class NoDaemon(DoorError):  # a plain fact for most commands, not an error
    """Nobody listens at the daemon's socket."""


class Response:
    """An answer: the status code, the headers by lower-case name, the whole body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def quoted(text: str) -> str:
    """`text` percent-encoded for a query."""
    return "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")
    )


def ask(
    path: str,
    method: str,
    target: str,
    *,
    accept: str = "application/json",
    body: bytes | None = None,
    timeout: float | None = ANSWER_S,
) -> Response:
    """Send one request to the socket at `path` and read the whole answer.

    `timeout` is in seconds and for all of it together; None waits for ever.

    Raises NoDaemon where nobody listens, DoorError for anything that is no complete HTTP answer in time.
    """
    head = f"{method} {target} HTTP/1.1\r\nHost: pcv\r\nAccept: {accept}\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    request = head.encode("ascii") + b"\r\n" + (body or b"")
    deadline = None if timeout is None else time.monotonic() + timeout
    # A daemon whose records were removed begins anew, and answers at the same socket once it has. Whoever
    # came in just before is hung up on, and may ask once more what does not change anything.
    patient = method == "GET"
    while True:
        try:
            response = _asked(path, request, deadline, timeout)
        except _HungUp:
            if not patient:
                raise
            patient = False
        else:
            if response.status != _BEGINNING:
                return response
        time.sleep(_PAUSE_S)


def _asked(path: str, request: bytes, deadline: float | None, timeout: float | None) -> Response:
    link = _connect(path, deadline)
    reader = _Reader(link, deadline)
    try:
        _grant(link, deadline)
        link.sendall(request)
        return reader.response()
    except TimeoutError:
        raise DoorError(
            f"the daemon{_pid(link)} gave no answer within {timeout:g} s",
            "`pcvctl logs` shows what it last did; if it hangs, end that process and run `pcvctl start`",
        ) from None
    except OSError as error:
        raise _broken_off(error.strerror or str(error), begun=reader.begun) from None
    finally:
        link.close()


def _connect(path: str, deadline: float | None) -> _socket.socket:
    _check_owner(os.path.dirname(path))
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        while True:
            _grant(link, deadline)
            try:
                link.connect(path)
            except BlockingIOError:
                # Linux answers EAGAIN at once when the daemon's backlog is full, whatever the timeout.
                time.sleep(0.01)
            else:
                return link
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        link.close()
        raise NoDaemon("no daemon runs for this project", "`pcvctl start` starts one") from None
    except TimeoutError:
        link.close()
        raise DoorError(
            f"the daemon accepts no connection at {path}",
            "it is overrun or hangs: see `pcvctl logs`, then restart it",
        ) from None
    except OSError as error:
        link.close()
        raise DoorError(f"the daemon's socket {path} can't be used: {error.strerror or error}") from None


def _check_owner(folder: str) -> None:
    # In a shared temp directory somebody else may have made the folder first, to answer in the daemon's name.
    try:
        owner = os.lstat(folder).st_uid
    except OSError:
        return  # connecting tells why
    if owner != os.getuid():
        raise DoorError(
            f"{folder} belongs to another user (uid {owner}), so what listens there is not your daemon",
            "set XDG_RUNTIME_DIR to a folder of your own",
        )


def _grant(link: _socket.socket, deadline: float | None) -> None:
    """Let the next operation on `link` take until `deadline`. Raises TimeoutError where that has passed."""
    if deadline is None:
        link.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    link.settimeout(left)


def _pid(link: _socket.socket) -> str:
    # Linux alone tells who listens; the number is all a user needs to end a daemon that hangs.
    option = getattr(_socket, "SO_PEERCRED", None)
    if option is None:
        return ""
    try:
        return f" (pid {int.from_bytes(link.getsockopt(_socket.SOL_SOCKET, option, 12)[:4], 'little')})"
    except OSError:
        return ""


def _broken_off(why: str, *, begun: bool = True) -> DoorError:
    kind = DoorError if begun else _HungUp
    return kind(
        f"the daemon broke off its answer: {why}", "it may have ended: see `pcvctl logs`, then `pcvctl start`"
    )


def _nonsense(what: str) -> DoorError:
    return DoorError(
        f"the daemon's answer makes no sense: {what}",
        "is it of another version? `pcvctl restart` starts this one",
    )


class _Reader:
    """Takes one answer off a socket, in whatever pieces it arrives."""

    __slots__ = ("begun", "buffer", "deadline", "link")

    def __init__(self, link: _socket.socket, deadline: float | None) -> None:
        self.link = link
        self.deadline = deadline
        self.buffer = bytearray()
        self.begun = False

    def response(self) -> Response:
        status, headers = self.head()
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if coding == "chunked":
            body = self.chunks()
        elif coding:
            raise _nonsense(f"unknown transfer encoding {coding!r}")
        elif length is not None:
            body = self.exactly(_number(length, 10))
        elif status == 204:
            body = b""
        else:
            body = self.rest()
        return Response(status, headers, body)

    def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise _nonsense(f"it starts with {first[:40]!r}")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise _nonsense(f"header {line[:40]!r}")
            headers[name.strip().lower()] = value.strip()
        return int(code), headers

    def chunks(self) -> bytes:
        whole = bytearray()
        while size := _number(self.until(b"\r\n").decode("latin-1").partition(";")[0].strip(), 16):
            whole += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise _nonsense("a chunk is longer than it says")
        while self.until(b"\r\n"):
            pass  # trailers
        return bytes(whole)

    def until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark, 0, _HEAD_LIMIT)) < 0:
            if len(self.buffer) >= _HEAD_LIMIT:
                raise _nonsense(f"a head of more than {_HEAD_LIMIT} bytes")
            if not self.more():
                said = "" if self.begun else " without a word"
                raise _broken_off(f"it closed the connection{said}", begun=self.begun)
        taken = bytes(self.buffer[:at])
        del self.buffer[: at + len(mark)]
        return taken

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.more():
                raise _broken_off(f"{len(self.buffer)} of {size} bytes came")
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def rest(self) -> bytes:
        while self.more():
            pass
        return bytes(self.buffer)

    def more(self) -> bool:
        _grant(self.link, self.deadline)
        piece = self.link.recv(262144)
        self.buffer += piece
        self.begun = self.begun or bool(piece)
        return bool(piece)


def _number(text: str, base: int) -> int:
    # int() alone would take "-1", "1_0" and " 7 ".
    digits = "0123456789abcdefABCDEF" if base == 16 else "0123456789"
    if not text or len(text) > 15 or any(letter not in digits for letter in text):
        raise _nonsense(f"a length of {text[:20]!r}")
    return int(text, base)
