"""The daemon's door by raw HTTP, as curl or a scraper would use it; and what else may come through it."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import stat
import threading
from pathlib import Path

import pytest

FIRST = "models/first.py:model"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_socket_is_this_users_alone(project):
    path = Path(project.socket)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert {mode(lock) for lock in path.parent.glob("*.lock")} == {0o600}


def test_what_is_durable_is_this_users_alone(project):
    for name in ("", "objects", "pcv.sqlite"):
        assert mode(project.path(".pcv", name)) & 0o077 == 0, name
    assert project.path(".pcv", ".gitignore").read_text().split() == ["*"]


def test_the_status(project):
    code, headers, body = project.ask("GET", "/v1/status")
    document = json.loads(body)
    assert (code, headers["X-Pcv-Exit"], headers["Content-Type"]) == (200, "0", "application/json")
    assert document["schema"] == 1
    assert document["root"] == project.root
    assert document["summary"] == {
        "targets": 2, "agree": 2, "equivalent": 0, "diverged": 0, "unstable": 0, "inconclusive": 0, "stale": 0
    }  # fmt: skip
    assert document["daemon"]["pid"] == project.started[0].pid
    assert document["environment"]["platform"] == "cpu"
    assert document["speed"].keys() == {"serial", "threads:2"}


def test_the_status_as_a_table(project):
    code, headers, body = project.ask("GET", "/v1/status?width=60", Accept="text/plain")
    assert (code, headers["X-Pcv-Exit"]) == (200, "0")
    lines = body.decode().splitlines()
    assert any(FIRST in line for line in lines)
    assert max(map(len, lines)) <= 60
    assert b"\x1b[" not in body
    assert b"\x1b[" in project.ask("GET", "/v1/status?color=1", Accept="text/plain")[2]


@pytest.mark.parametrize(
    "query", ["width=-3", "width=x", "width=", "width=99999999999", "color=2", "fresh=no", "a=b"]
)
def test_parameters_that_make_no_sense_do_no_harm(query, project):
    code, _, body = project.ask("GET", f"/v1/status?{query}", Accept="text/plain")
    assert code == 200
    assert FIRST in body.decode()


def test_one_target(project):
    code, _, body = project.ask("GET", f"/v1/targets/{FIRST}")
    assert code == 200
    assert [one["target"] for one in json.loads(body)["targets"]] == [FIRST]
    code, _, body = project.ask("GET", f"/v1/status?target={FIRST}")
    assert code == 200
    assert [one["target"] for one in json.loads(body)["targets"]] == [FIRST]


def test_which_targets_there_are(project):
    code, headers, body = project.ask("GET", "/v1/targets")
    assert (code, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {"targets": [FIRST, "models/second.py:model"]}


def test_a_brief_status_lists_no_more_than_it_is_asked_for(project):
    _, _, whole = project.ask("GET", "/v1/status")
    code, _, body = project.ask("GET", "/v1/status?most=1")
    whole, brief = json.loads(whole), json.loads(body)
    assert code == 200
    assert len(brief["targets"]) <= 1 < len(whole["targets"])
    assert brief["summary"] == whole["summary"]
    assert brief["daemon"]["pid"] == whole["daemon"]["pid"]


@pytest.mark.parametrize(
    "path", ["/v1/targets/models/none.py:model", "/v1/status?target=x", "/v1/targets/%00%ff"]
)
def test_unknown_targets_are_not_found(path, project):
    code, _, body = project.ask("GET", path)
    assert code == 404
    error = json.loads(body)["error"]
    assert "there is no target" in error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/status/", 404),
        ("GET", "/v2/status", 404),
        ("GET", "/%ff%00", 404),
        ("POST", "/v1/status", 405),
        ("GET", "/v1/recheck", 405),
        ("DELETE", "/v1/stop", 405),
    ],
)
def test_unknown_paths_and_methods(method, path, code, project):
    answered, headers, body = project.ask(method, path)
    assert (answered, headers["Content-Type"]) == (code, "application/json")
    error = json.loads(body)["error"]
    assert error["message"].startswith(method)
    assert "/v1/status" in error["hint"]


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"7", b"null", b'{"targets": 3}', b'{"targets": [3]}', b'{"target": ["x"]}', b"\xff\xfe",
        b'{"targets": "models/first.py:model"}', b"{}{}",
    ],
)  # fmt: skip
def test_bad_bodies_are_refused(body, project):
    code, _, answer = project.ask("POST", "/v1/recheck", body)
    assert code == 400
    assert "body" in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize(
    "body", [b'{"timeout_s": -1}', b'{"timeout_s": "1"}', b'{"ticket": "1"}', b'{"timeout": 1}']
)
def test_bad_waits_are_refused(body, project):
    assert project.ask("POST", "/v1/wait", body)[0] == 400


def test_a_recheck_gives_a_ticket_to_wait_for(project):
    code, _, body = project.ask("POST", "/v1/recheck", json.dumps({"targets": [FIRST]}).encode())
    asked = json.loads(body)
    assert (code, asked["targets"]) == (202, [FIRST])
    rounds = len(project.rounds())
    code, headers, body = project.ask("POST", "/v1/wait", json.dumps({"ticket": asked["ticket"]}).encode())
    assert (code, headers["X-Pcv-Exit"]) == (200, "0")
    assert [one["target"] for one in json.loads(body)["targets"]] == [FIRST]
    assert len(project.rounds()) in {rounds, rounds + 1}
    assert project.rounds()[-1] == ("asked for", [FIRST])


def test_a_recheck_of_nothing_known_is_not_found(project):
    code, _, body = project.ask("POST", "/v1/recheck", b'{"targets": ["models/first.py:modle"]}')
    assert code == 404
    assert json.loads(body)["error"] == {
        "message": 'there is no target "models/first.py:modle"',
        "file": None,
        "line": None,
        "hint": f'did you mean "{FIRST}"?',
    }


def test_waiting_for_nothing_pending_answers_at_once(project):
    project.ask("POST", "/v1/wait", b"")
    assert project.ask("POST", "/v1/wait", b'{"timeout_s": 0}')[0] == 200
    assert project.ask("POST", "/v1/wait", b'{"ticket": 123456}')[0] == 404


def test_events_come_at_every_change(project):
    with project.events() as coming:
        project.ask("POST", "/v1/recheck", json.dumps({"targets": [FIRST]}).encode())
        states = []
        for document in coming:
            states.append(document["daemon"]["state"])
            if "busy" in states and states[-1] == "idle":
                break
    assert "busy" in states


def test_a_listener_that_hangs_up_or_never_reads_is_no_trouble(project):
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(project.socket)
    silent.sendall(b"GET /v1/events HTTP/1.1\r\nHost: pcv\r\n\r\n")
    for _ in range(3):
        with project.events():
            pass
    assert project.pcvctl("recheck", FIRST).returncode == 0
    silent.close()


def test_metrics(project):
    code, headers, body = project.ask("GET", "/metrics")
    assert code == 200
    assert headers["Content-Type"].startswith("text/plain")
    lines = body.decode().splitlines()
    assert 'pcv_targets{verdict="agree"} 2' in lines
    assert 'pcv_up{state="idle"} 1' in lines
    assert any(line.startswith('pcv_speed_up{schedule="threads:2"} ') for line in lines)
    for line in lines:
        assert line.startswith("# TYPE ") or float(line.rpartition(" ")[2]) >= 0


GARBAGE = [
    b"", b"\0" * 100, b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"GET /v1/status\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\n\r\n", b"GET /v1/status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /v1/recheck HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/recheck HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    b"POST /v1/recheck HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/wait HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b'POST /v1/wait HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\n{"timeout_s": 1e99}',
]  # fmt: skip


def throw(path, data):
    with contextlib.suppress(ConnectionError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(path)
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        while link.recv(65536):
            pass


def test_garbage_does_not_bring_it_down(project):
    dice = random.Random(7)
    pieces = [*GARBAGE, *(dice.randbytes(dice.randrange(1, 3000)) for _ in range(40))]
    for piece in [
        *GARBAGE,
        *(b"POST /v1/recheck HTTP/1.1\r\nHost: a\r\n" + dice.randbytes(50) for _ in range(20)),
    ]:
        for _ in range(2):
            damaged = bytearray(piece)
            for _ in range(min(3, len(damaged))):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            pieces.append(bytes(damaged))
    for piece in pieces:
        throw(project.socket, piece)
    assert project.pcvctl("wait", "--timeout", "120").returncode == 0
    assert project.json("status", code=0)["daemon"]["pid"] == project.started[0].pid


def test_many_at_once_are_answered(project):
    answers = []

    def ask():
        answers.append(project.ask("GET", "/v1/status")[0])

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40
