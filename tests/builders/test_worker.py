"""The daemon's end of one worker: what it makes of words that are no messages."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from structlog.testing import capture_logs

from pcvd.builders.worker import Worker, WorkerDied
from pcvd.core.model import TargetSpec


@pytest.fixture
def talk(tmp_path):
    """Play `scene(worker, other, ended)` with a worker, the other end of its line, and its end."""

    async def play(scene):
        here, other = socket.socketpair()
        streams = await asyncio.open_connection(sock=here)
        ended = asyncio.get_running_loop().create_future()

        async def kill():
            ended.set_result(-9)

        worker = Worker("one", 1, streams, ended, kill, tmp_path / "log")
        with other:
            await scene(worker, other, ended)
            await worker.dismiss()

    return lambda scene: asyncio.run(play(scene))


@pytest.mark.parametrize("words", [b"junk\n", b"{\n", b"\xff\xfe\n", b"\x00\n"])
def test_a_worker_that_talks_nonsense_is_ended(words, talk):
    async def scene(worker, other, ended):
        other.sendall(b'{"did": "loaded"}\n' + words)
        assert await worker.receive(60) == {"did": "loaded"}
        with pytest.raises(WorkerDied, match="no message"):
            await worker.receive(60)
        assert ended.done()

    talk(scene)


@pytest.mark.parametrize(
    ("words", "there"), [(b'{"did": "answer"}\n', True), (b"", False), (b"junk\n", False)]
)
def test_only_who_answers_is_there(words, there, talk):
    async def scene(worker, other, ended):
        other.sendall(words)
        other.shutdown(socket.SHUT_WR)
        if not words:
            ended.set_result(-9)
        assert await worker.answers() is there
        assert other.recv(1000) == b'{"do":"answer"}\n'

    talk(scene)


def test_a_model_that_writes_on_the_workers_line_fails_alone(workshop):
    workshop.write(
        "talking.py",
        """
        import os, stat

        def model(x):
            for fd in range(3, 64):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, b"so there\\n")
                except OSError:
                    pass
            return x
        """,
    )
    failure = workshop.failure(TargetSpec("talking.py:model", ("f32[4]",)))
    assert failure.kind == "crash"
    assert "no message" in failure.message
    assert failure.file == "talking.py"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"junk\n", True), (b"[]\n", True), (b"\xff\xfe\n", True), (b'{"name": ', True),
        (b'{"name": "nobody"}\n', False), (b'{"name": []}\n', False), (b"", False),
    ],
)  # fmt: skip
def test_strangers_at_the_workers_socket_are_told_of_in_one_line(words, told, workshop, caplog):
    with capture_logs() as lines, caplog.at_level(logging.WARNING), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60)
        link.connect(str(workshop.pool._scratch / "workers.sock"))
        link.sendall(words)
        link.shutdown(socket.SHUT_WR)
        assert link.recv(1) == b""
    assert [line["log_level"] for line in lines if "stranger" in line["event"]] == ["warning"] * told
    assert caplog.records == []
