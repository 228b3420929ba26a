"""What tests of the running thing share: a pool of real workers, and projects driven by the real commands.

A pool costs seconds of importing JAX, so one serves a whole session; so does a folder short enough for a
socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pcv_config import places
from pcv_config.settings import Settings
from pcvd.blobs import Blobs
from pcvd.builders.pool import LocalPool
from pcvd.builders.protocol import Order
from pcvd.clock import utc_now
from pcvd.core.schedule import parse
from pcvd.files import Files
from pcvd.round import Rounds

SOURCES = [str(Path(__file__).parents[1] / name) for name in ("client", "config", "daemon")]

# Whatever hangs is to fail a test, not to stop the suite; nothing measures against it.
PATIENCE_S = 300.0


def written(root, file, text):
    """Write a file of a project; its text may be indented."""
    path = Path(root, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def until(holds, what, within=PATIENCE_S):
    """Poll until `holds()` gives something true, and return that."""
    deadline = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)
    return found


class Workshop:
    """A project folder and a pool of workers for it, whose event loop runs in a thread of its own."""

    def __init__(self, root, **settings):
        self.root = os.path.realpath(root)
        defaults = Settings(self.root, "pcv.toml", platform="cpu", timeout_s=120.0)
        self.settings = replace(defaults, **settings)
        self.objects = places.state(self.root, "objects")
        self.blobs = Blobs(self.objects)
        self.files = Files()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._open(),))
        self.ready = threading.Event()

    async def _open(self):
        self.over = asyncio.Event()
        async with LocalPool.open(self.settings, self.objects) as self.pool:
            self.ready.set()
            await self.over.wait()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(PATIENCE_S)
        self.loop.close()
        gc.collect()  # a connection that was left open is to show here, not in some later test

    def path(self, *names):
        """A path in the project."""
        return Path(self.root, *names)

    def write(self, file, text):
        """Write a file of the project; its path."""
        return written(self.root, file, text)

    def call(self, work):
        """The result of a coroutine of the pool's."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def build(self, *specs, schedule="serial", challenger=0):
        """What comes of one schedule over `specs`."""
        return self.call(self.pool.carry_out(Order.of(specs, parse(schedule), challenger)))

    def built(self, *specs, **options):
        """The builds of one schedule, none of which may have failed."""
        builds = self.build(*specs, **options).run.builds
        assert [build.failure for build in builds if build.failure] == []
        return builds

    def failure(self, spec, **options):
        """Why the only build of `spec` failed."""
        run = self.build(spec, **options).run
        assert [build.failure is None for build in run.builds] == [False]
        return run.builds[0].failure

    def discover(self, *files):
        """What `files` declare."""
        return self.call(self.pool.discover(files))

    def hold(self, *specs, why="asked for", premises=(), **settings):
        """One round over `specs`, under other settings."""
        rounds = Rounds(self.pool, replace(self.settings, **settings), self.files, self.blobs, utc_now)
        return self.call(rounds.hold(specs, why, premises))

    def text(self, build, stage):
        """The canonical bytes of a build's stage, all parts in a row."""
        return b"\n".join(self.blobs.get(part.canonical) for part in build.artifact(stage).parts)

    def reads(self, carried, entry):
        """What a target read below the root: kind → names, relative where they are files."""
        found = {"file": set(), "absent": set(), "env": set()}
        for read in carried.reads[entry]:
            if read.kind == "env":
                found["env"].add(read.name)
            elif read.name.startswith(self.root + os.sep):
                found[read.kind].add(os.path.relpath(read.name, self.root))
        return found


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """A shell has what runs in its background ignore SIGINT, and nohup SIGHUP; what the tests start would
    inherit that, and could not be interrupted. A handler that does nothing is not inherited.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def open_workshop(tmp_path_factory):
    """Open a pool of its own, with other settings than the shared one's; a context manager."""
    return lambda **settings: Workshop(tmp_path_factory.mktemp("workshop"), **settings)


@pytest.fixture(scope="session")
def workshop(open_workshop):
    """The pool that all tests share. Models go into files of their own, since tests share the folder."""
    with open_workshop() as shop:
        yield shop


class Door(http.client.HTTPConnection):
    """A connection to a daemon's socket."""

    def __init__(self, path):
        super().__init__("pcv", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Project:
    """A project in a folder, and the real commands on it."""

    def __init__(self, root, runtime):
        self.root = os.path.realpath(root)
        self.env = {
            **os.environ,
            "XDG_RUNTIME_DIR": runtime,
            "PYTHONPATH": os.pathsep.join(SOURCES),
            "PYTHONUTF8": "1",
        }
        self.runtime = runtime
        self.started = []

    def path(self, *names):
        """A path in the project."""
        return Path(self.root, *names)

    def write(self, file, text):
        """Write a file of the project in place; its path."""
        return written(self.root, file, text)

    def rename_over(self, file, text):
        """Save a file as editors do: a new one beside it, renamed over it."""
        written(self.root, f"{file}.new", text).replace(self.path(file))

    def pcvctl(self, *arguments, cwd=None, **env):
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "pcvctl", *arguments],
            cwd=cwd or self.root, env={**self.env, **env}, capture_output=True, text=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip

    def pcvd(self, *arguments):
        """Run a command of the daemon's own program to its end."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "pcvd", *arguments],
            cwd=self.root, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def python(self, file):
        """Run a file of the project to its end, as a script of its own."""
        return subprocess.run(
            [sys.executable, file], cwd=self.root, env={**self.env, "JAX_PLATFORMS": "cpu"},
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def begin(self, *arguments, **options):
        """Start a command, and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "pcvctl", *arguments], cwd=self.root, env=self.env, **options
        )

    def json(self, *arguments, code=None):
        """The JSON that a command prints; with `code`, its exit code must be that."""
        ended = self.pcvctl(*arguments, "--json")
        assert code is None or ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
        return json.loads(ended.stdout)

    def start(self):
        """Start the daemon; its process."""
        ended = self.pcvctl("start", "--json")
        assert ended.returncode == 0, ended.stderr
        process = psutil.Process(json.loads(ended.stdout)["pid"])
        self.started.append(process)
        return process

    def end(self):
        """End whatever daemons still run here, by force if need be."""
        self.pcvctl("stop")
        for process in self.started:
            with contextlib.suppress(psutil.NoSuchProcess):
                for one in (*process.children(recursive=True), process):
                    one.kill()

    @property
    def socket(self):
        """The path of the daemon's socket."""
        return str(Path(self.runtime, "pcv", Path(places.socket_path(self.root)).name))

    def ask(self, method, path, body=None, **headers):
        """One request by raw HTTP: status, headers, body."""
        door = Door(self.socket)
        try:
            door.request(method, path, body=body, headers=headers)
            answer = door.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            door.close()

    @contextlib.contextmanager
    def events(self):
        """The status documents of /v1/events as they come: an iterator. The first has come already."""
        door = Door(self.socket)
        try:
            door.request("GET", "/v1/events")
            answer = door.getresponse()
            assert answer.headers["Content-Type"].startswith("text/event-stream")

            def documents():
                for line in answer:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])

            coming = documents()
            next(coming)
            yield coming
        finally:
            answer.close()
            door.close()

    def query(self, sql, *values):
        """Rows of the project's database."""
        with contextlib.closing(sqlite3.connect(places.state(self.root, "pcv.sqlite"))) as connection:
            return connection.execute(sql, values).fetchall()

    def rounds(self, *, whole=False):
        """Every recorded round: why it was held, and over which targets; with `whole`, also those that only
        strengthen verdicts, under every schedule.
        """
        rounds = self.query("SELECT why, cohort FROM rounds ORDER BY id")
        return [(why, json.loads(cohort)) for why, cohort in rounds if whole or why != "whole"]

    def log(self, event, file="pcvd.log"):
        """The log's events of that name."""
        lines = Path(places.state(self.root, file)).read_text(encoding="utf-8").splitlines()
        return [one for one in map(json.loads, lines) if one["event"] == event]


@pytest.fixture(scope="session")
def short_runtime():
    """A runtime folder with a short name: a socket's path is limited to some 100 bytes."""
    folder = tempfile.mkdtemp(prefix="pcv-t-", dir="/tmp")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_project(tmp_path_factory, short_runtime):
    """Make a project of the given files; whatever daemons it has end with the session at the latest."""
    projects = []

    def make(files=None, folder=None):
        projects.append(Project(folder or tmp_path_factory.mktemp("project"), short_runtime))
        for file, text in (files or {}).items():
            projects[-1].write(file, text)
        return projects[-1]

    yield make
    for project in projects:
        project.end()


@pytest.fixture(scope="session")
def eventually():
    """Poll a condition until it holds."""
    return until
