"""Real Unix sockets, real projects, real command lines for the client's tests."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

SOURCES = [str(Path(__file__).parents[2] / name) for name in ("client", "config")]

# A daemon's package reduced to its contract, so that the client's handling of processes can be put through
# what the real one never does on purpose: dying at the start, printing junk, not answering.
STANDIN = """
import fcntl, json, os, signal, socket, sys
from pcv_config import places

mode = os.environ.get("STANDIN", "")
verb, root = sys.argv[1], sys.argv[sys.argv.index("--root") + 1]
with open(os.path.join(os.environ["STANDIN_NOTES"], verb), "w") as file:
    json.dump({"pid": os.getpid(), "argv": sys.argv[1:], "path0": sys.path[0]}, file)
if mode == "dies":
    sys.exit("pcvd: pcv.toml:3: unknown key")
if verb == "check":
    if mode == "hangs":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143 if os.write(2, b"ended in order\\n") else 0))
        print("building", file=sys.stderr, flush=True)
        signal.pause()
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "crashes":
        raise RuntimeError("a bug")
    sys.stdout.write("junk" if mode == "junk" else os.environ["STANDIN_STATUS"])
    sys.exit(int(os.environ.get("STANDIN_CODE", 0)))
os.makedirs(places.runtime_folder(), 0o700, exist_ok=True)
lock = os.open(places.lock_path(root), os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
listener = socket.socket(socket.AF_UNIX)
listener.bind(places.socket_path(root))
listener.listen()
if mode == "mute":
    signal.pause()
while True:
    link, _ = listener.accept()
    request = link.recv(65536).decode()
    daemon = {"pid": os.getpid(), "state": "idle"}
    body = json.dumps({"schema": 1, "targets": [], "problems": [], "daemon": daemon})
    head = f"HTTP/1.1 200 OK\\r\\nX-Pcv-Exit: 3\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    link.sendall((head + body).encode())
    link.close()
    if "/v1/stop" in request:
        os.unlink(places.socket_path(root))
        sys.exit()
"""


@pytest.fixture
def runtime(monkeypatch):
    """A private runtime folder with a short name: pytest's own are too long for a socket's path."""
    folder = tempfile.mkdtemp(prefix="pcv-t-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(SOURCES))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root(tmp_path, runtime):
    """A project's root, as the client spells it."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pcv.toml").write_text("")
    return os.path.realpath(tmp_path / "project")


@pytest.fixture
def pcvctl(root):
    """Run `pcvctl` as a process in the project; returns the finished process."""

    def run(*arguments, cwd=root, path=(), **env):
        return subprocess.run(
            [sys.executable, "-m", "pcvctl", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*path, *SOURCES]), "PYTHONUTF8": "1", **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def standin(tmp_path, monkeypatch, root):
    """The stand-in daemon package: a function that tells what a verb was started with, and its folder."""
    package = tmp_path / "standin" / "pcvd"
    notes = tmp_path / "notes"
    package.mkdir(parents=True)
    notes.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(STANDIN)
    monkeypatch.setenv("STANDIN_NOTES", str(notes))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), *SOURCES]))

    def note(verb):
        return json.loads((notes / verb).read_text())

    note.path = str(package.parent)
    note.folder = notes
    yield note
    if (notes / "serve").exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(note("serve")["pid"], signal.SIGKILL)


class Listener:
    """A server on a Unix socket, in a thread: `answer(request)` gives the bytes to send, None no word."""

    def __init__(self, path, answer):
        self.requests = []
        self.answer = answer
        self.over = threading.Event()
        self.socket = socket.socket(socket.AF_UNIX)
        Path(path).parent.mkdir(mode=0o700, exist_ok=True)
        self.socket.bind(path)
        self.socket.listen(8)
        self.socket.settimeout(0.05)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while not self.over.is_set():
            try:
                link, _ = self.socket.accept()
            except TimeoutError:
                continue
            with link:
                link.settimeout(30)
                self.converse(link)

    def converse(self, link):
        data = b""
        while b"\r\n\r\n" not in data:
            data += link.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *headers = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in headers)
        while len(body) < int(fields.get("content-length", 0)):
            body += link.recv(65536)
        self.requests.append({"line": first, "headers": fields, "body": body})
        reply = self.answer(self.requests[-1])
        if reply is None:
            self.over.wait()  # held open without a word until the test is over
            return
        with contextlib.suppress(BrokenPipeError):  # the client had seen enough
            link.sendall(reply)

    def close(self):
        self.over.set()
        self.thread.join()
        self.socket.close()


@pytest.fixture
def listen():
    """Start a Listener: `listen(path, answer)`."""
    listeners = []

    def start(path, answer):
        listeners.append(Listener(path, answer))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def http():
    """The bytes of a complete answer: `http(200, value, header=…)`; no bytes are sent as JSON."""

    def make(status, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    return make


@pytest.fixture
def target():
    """A target of a status JSON on which all is well, with changes."""

    def make(name="models/mlp.py:forward", **changes):
        schedule = {
            "builds": 2,
            "peak_in_flight": 2,
            "wall_s": 1.5,
            "cpu_s": 2.0,
            "speed_up": 1.2,
            "identical_stages": ["jaxpr", "stablehlo", "hlo", "output"],
            "differing_stages": [],
            "output_bitwise": True,
            "max_abs": 0.0,
            "stored": {"artifacts": 4, "identical": True},
            "affinity": [0, 1],
        }
        return {
            "target": name,
            "verdict": "agree",
            "fresh": True,
            "state": "idle",
            "reason": None,
            "first_stage": None,
            "differing": [],
            "failure": None,
            "cause": None,
            "stages": {},
            "output": {"bitwise": True, "max_abs": 0.0, "max_rel": 0.0, "within_tolerance": True},
            "evidence": {
                "rounds": 3,
                "cohort": 1,
                "repeat_runs_equal": True,
                "schedules": {
                    "serial": {**schedule, "builds": 1, "peak_in_flight": 1, "wall_s": 2.0, "speed_up": None},
                    "threads:2": schedule,
                },
            },
            "checked_at": "2026-01-01T00:00:00Z",
            **changes,
        }

    return make


@pytest.fixture
def status():
    """A status JSON with the given targets, with changes."""

    def make(*targets, **changes):
        return {
            "schema": 1,
            "root": "/project",
            "daemon": {"pid": 7, "state": "idle", "version": "0.1.0", "uptime_s": 90.0},
            "summary": {"targets": len(targets)},
            "targets": list(targets),
            "problems": [],
            "speed": {"threads:2": 1.25},
            "environment": {},
            **changes,
        }

    return make
