import os
import socket
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvctl import door
from pcvctl.door import DoorError, NoDaemon

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Pcv-Exit: 0\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
TO_THE_END = b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello"


class Pieces:
    """What a socket gives when the network of the kernel cuts as it likes."""

    def __init__(self, pieces):
        self.pieces = [piece for piece in pieces if piece]

    def settimeout(self, seconds):
        pass

    def recv(self, size):
        return self.pieces.pop(0) if self.pieces else b""


@pytest.fixture
def path(runtime):
    return str(Path(runtime, "pcv", "d.sock"))


@pytest.mark.parametrize("answer", [OK, CHUNKED, TO_THE_END])
def test_the_whole_answer_arrives(path, listen, answer):
    listener = listen(path, lambda request: answer)
    response = door.ask(path, "POST", "/v1/x?a=b", body=b'{"n": 1}', timeout=30)
    assert (response.status, response.body) == (200, b"hello")
    assert listener.requests[0]["line"] == "POST /v1/x?a=b HTTP/1.1"
    assert listener.requests[0]["body"] == b'{"n": 1}'


def test_a_daemon_that_begins_anew_is_asked_again(path, listen, http):
    answers = [http(503, {"error": {"message": "removed"}}), http(503, b""), OK]
    listener = listen(path, lambda request: answers.pop(0))
    assert door.ask(path, "POST", "/v1/recheck", body=b"{}", timeout=30).body == b"hello"
    assert [request["body"] for request in listener.requests] == [b"{}"] * 3


def test_a_daemon_that_never_begins_is_given_up(path, listen, http):
    listen(path, lambda request: http(503, b""))
    with pytest.raises(DoorError, match=r"no answer within 0\.5 s|accepts no connection"):
        door.ask(path, "GET", "/v1/status", timeout=0.5)


@given(st.sampled_from([OK, CHUNKED, TO_THE_END]), st.lists(st.integers(0, 120), max_size=8))
def test_where_reads_are_cut_does_not_matter(answer, cuts):
    places = [0, *sorted(cuts), len(answer)]
    pieces = [answer[start:end] for start, end in pairwise(places)]
    assert door._Reader(Pieces(pieces), None).response().body == b"hello"


@given(st.sampled_from([OK, CHUNKED]), st.data())
def test_an_answer_that_ends_early_is_never_taken_for_a_whole_one(answer, data):
    end = data.draw(st.integers(0, len(answer) - 1))
    with pytest.raises(DoorError, match="broke off"):
        door._Reader(Pieces([answer[:end]]), None).response()


@given(st.binary(max_size=300))
def test_garbage_is_an_error_and_nothing_else(data):
    with pytest.raises(DoorError):
        door._Reader(Pieces([b"\x00" + data]), None).response()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"y" * 100_000,
    ],
)
def test_what_is_no_http_makes_no_sense(path, listen, answer):
    listen(path, lambda request: answer)
    with pytest.raises(DoorError, match="makes no sense"):
        door.ask(path, "GET", "/", timeout=30)


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1)])
def test_closing_without_a_word(path, listen, method, times):
    listener = listen(path, lambda request: b"")
    with pytest.raises(DoorError, match="without a word"):
        door.ask(path, method, "/", timeout=30)
    assert len(listener.requests) == times


def test_whoever_is_hung_up_on_asks_once_more(path, listen):
    answers = [b"", OK]
    listen(path, lambda request: answers.pop(0))
    assert door.ask(path, "GET", "/", timeout=30).status == 200


def test_an_answer_broken_off_is_not_asked_for_again(path, listen):
    listener = listen(path, lambda request: b"HTTP/1.1 200")
    with pytest.raises(DoorError, match=r"closed the connection$"):
        door.ask(path, "GET", "/", timeout=30)
    assert len(listener.requests) == 1


def test_a_daemon_that_hangs_is_named(path, listen):
    listen(path, lambda request: None)
    with pytest.raises(DoorError, match=rf"\(pid {os.getpid()}\) gave no answer within 0.2 s"):
        door.ask(path, "GET", "/", timeout=0.2)


def test_a_daemon_that_trickles_does_not_get_more_time(path, runtime):
    Path(path).parent.mkdir(mode=0o700)
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def trickle():
            link, _ = listener.accept()
            with link:
                try:
                    while not over.wait(0.02):
                        link.sendall(b"x")
                except OSError:
                    pass

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(DoorError, match="gave no answer"):
                door.ask(path, "GET", "/", timeout=0.3)
        finally:
            over.set()
            thread.join()


def test_no_folder_no_socket_no_listener(path):
    with pytest.raises(NoDaemon):
        door.ask(path, "GET", "/")
    Path(path).parent.mkdir(mode=0o700)
    with pytest.raises(NoDaemon):
        door.ask(path, "GET", "/")
    with socket.socket(socket.AF_UNIX) as dead:  # a daemon that was killed leaves its socket behind
        dead.bind(path)
    with pytest.raises(NoDaemon):
        door.ask(path, "GET", "/")


def test_a_file_in_the_sockets_place_is_no_answer(path):
    Path(path).parent.mkdir(mode=0o700)
    Path(path).touch()
    with pytest.raises(DoorError):
        door.ask(path, "GET", "/")


def test_a_full_backlog_is_waited_for_and_then_named(path):
    Path(path).parent.mkdir(mode=0o700)
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        try:
            while True:  # until the kernel takes no more
                link = socket.socket(socket.AF_UNIX)
                waiting.append(link)
                link.setblocking(False)
                link.connect(path)
        except BlockingIOError:
            pass
        with pytest.raises(DoorError, match="accepts no connection"):
            door.ask(path, "GET", "/", timeout=0.2)
        for link in waiting:
            link.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_trusted(path, listen):
    listen(path, lambda request: OK)
    os.chown(Path(path).parent, 12345, -1)
    with pytest.raises(DoorError, match="uid 12345"):
        door.ask(path, "GET", "/")


@given(st.text(max_size=40))
def test_quoted_is_what_urllib_undoes(text):
    from urllib.parse import unquote

    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    assert unquote(door.quoted(text)) == text
    assert not set(door.quoted(text)) & set(" &#?+%\r\n=") - {"%"}
