"""The pool itself: its processes come, are replaced, and go."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pcvd.builders import zygotes
from pcvd.builders.protocol import Pair
from pcvd.builders.worker import Overdue, Worker
from pcvd.builders.zygotes import Zygotes, worker_environment
from pcvd.core.builds import Part
from pcvd.core.errors import SetupError
from pcvd.core.model import TargetSpec

MODEL = "def model(x):\n    return x + 1\n"
SPEC = TargetSpec("model.py:model", ("f32[4]",))


def children():
    """Processes of this one that are alive, and theirs."""
    return {one.pid for one in psutil.Process().children(recursive=True) if _alive(one)}


def _alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return False


@pytest.fixture(scope="module")
def shop(open_workshop):
    with open_workshop() as opened:
        opened.write("model.py", MODEL)
        yield opened


def zygote_pids(shop):
    return set(shop.pool._zygotes.pids())


def waiting(shop):
    return [worker.pid for workers in shop.pool._waiting.values() for worker in workers]


def test_prepared_workers_take_the_next_job(shop):
    shop.call(shop.pool.prepare())
    assert len(zygote_pids(shop)) == 2
    ready = waiting(shop)
    assert len(ready) == 3
    (build,) = shop.built(SPEC)
    assert build.worker in ready
    assert len(shop.built(SPEC, schedule="processes:2")) == 2
    assert waiting(shop) == []


def test_zygotes_run_no_more_threads_than_forking_allows(shop):
    shop.call(shop.pool.prepare())
    for pid in zygote_pids(shop):
        # A backend that was started would bring a dozen, and its children would hang.
        assert psutil.Process(pid).num_threads() <= 4


def test_one_worker_for_each_job(shop, eventually):
    pids = [shop.built(SPEC)[0].worker for _ in range(3)]
    assert len(set(pids)) == 3
    eventually(lambda: not set(pids) & children(), "workers end with their jobs")


def test_a_waiting_worker_that_died_is_replaced(shop, eventually):
    shop.call(shop.pool.prepare())
    (victim, *_) = (worker.pid for worker in shop.pool._waiting["reference"])
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(victim), "the worker is reaped")
    (build,) = shop.built(SPEC)
    assert build.worker != victim


def test_a_zygote_that_died_is_replaced_and_takes_its_workers_along(shop, eventually):
    shop.call(shop.pool.prepare())
    pid = shop.pool._zygotes._zygotes["reference"].process.pid
    (orphan,) = (worker.pid for worker in shop.pool._waiting["reference"])
    os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie", "it dies too"
    )
    assert shop.built(SPEC)
    assert pid not in zygote_pids(shop)


def test_a_worker_that_died_while_it_waited_is_nobodys_crash(shop):
    shop.call(shop.pool.prepare())
    (idle,) = (worker.pid for worker in shop.pool._waiting["reference"])
    os.kill(idle, signal.SIGKILL)
    assert shop.built(SPEC)[0].worker != idle


def test_a_build_whose_zygote_is_killed_is_a_crash(shop, eventually):
    shop.write(
        "regicide.py",
        """
        import os, signal

        def model(x):
            os.kill(os.getppid(), signal.SIGKILL)
            while True:
                pass
        """,
    )
    failure = shop.failure(TargetSpec("regicide.py:model", ("f32[4]",)))
    assert failure.kind == "crash"
    assert shop.built(SPEC)


def test_resting_leaves_no_process_and_waking_works(shop, eventually):
    shop.call(shop.pool.prepare())
    held = zygote_pids(shop) | set(waiting(shop))
    shop.call(shop.pool.rest())
    eventually(lambda: not held & children(), "all processes are gone")
    assert shop.built(SPEC)


def test_closing_leaves_neither_processes_nor_files(open_workshop, eventually):
    before = children()
    with open_workshop() as shop:
        shop.write("model.py", MODEL)
        scratch = shop.pool._scratch
        assert shop.built(SPEC)
        eventually(lambda: not list(scratch.glob("order-*")), "what the compiler dumped is removed")
    assert not scratch.exists()
    assert children() <= before


def test_closing_amid_a_build_ends_it(open_workshop, eventually):
    before = children()
    with open_workshop() as shop:
        shop.write(
            "slow.py", "import time\ndef model(x):\n    open(__file__ + '.on', 'w')\n    time.sleep(1000)\n"
        )
        shop.loop.call_soon_threadsafe(_begin, shop)
        eventually(lambda: shop.path("slow.py.on").exists(), "the build is under way")
        working = shop.working
        shop.loop.call_soon_threadsafe(working.cancel)
        eventually(working.done, "the order is given up")
    assert children() <= before


def test_closing_while_a_zygote_starts_ends_it(open_workshop, eventually):
    before = children()
    with open_workshop() as shop:

        async def prepare():
            shop.working = asyncio.current_task()
            await shop.pool.prepare()

        starting = asyncio.run_coroutine_threadsafe(prepare(), shop.loop)
        eventually(lambda: children() - before, "a zygote is on its way")
        shop.loop.call_soon_threadsafe(shop.working.cancel)
        eventually(starting.done, "the start is given up")
    assert children() <= before


def test_what_is_given_up_twice_is_seen_out_all_the_same(short_runtime, monkeypatch):
    # The second time amid the clean-up: a process that nobody reaped would outlive the loop.
    scratch = Path(short_runtime, "twice")
    scratch.mkdir()
    spawn, begun, seen_out = Zygotes._spawn, asyncio.Event(), []

    async def spawned(self, *args):
        process = await spawn(self, *args)
        wait = process.wait

        async def waited():
            seen_out.append(await wait())
            return seen_out[-1]

        process.wait = waited
        begun.set()
        return process

    async def give_up():
        async with Zygotes(sys.executable, dict(os.environ), scratch, str(scratch), fork=True) as opened:
            starting = asyncio.create_task(opened._zygote("reference"))
            await begun.wait()
            for _ in range(2):
                starting.cancel()
                for _turn in range(3):
                    await asyncio.sleep(0)
            assert starting.cancelled()

    monkeypatch.setattr(Zygotes, "_spawn", spawned)
    asyncio.run(give_up())
    assert seen_out == [-signal.SIGKILL]


def _begin(shop):
    from pcvd.builders.protocol import Order
    from pcvd.core.schedule import SERIAL

    order = Order.of((TargetSpec("slow.py:model", ("f32[4]",)),), SERIAL, 0)
    shop.working = shop.loop.create_task(shop.pool.carry_out(order))


# -- interpreters that can't do the work -----------------------------------------------------------


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """An interpreter without any packages."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return str(folder / "bin" / "python")


def refused(open_workshop, **settings):
    """What a pool under these settings says when it is asked to build.

    The exception itself is let go of, with all that its frames hold: a connection left open is to show in the
    test that left it.
    """
    with open_workshop(**settings) as shop:
        try:
            shop.build(SPEC)
        except SetupError as error:
            return error.message, error.hint
    raise AssertionError("it was built")


def test_an_interpreter_without_jax_is_named(open_workshop, bare_python):
    message, hint = refused(open_workshop, python=bare_python)
    assert bare_python in message
    assert "cannot import JAX" in message
    assert "`python`" in hint


@pytest.mark.parametrize(
    ("python", "words"), [("/nowhere/python", "No such file"), ("/bin/true", "did not become")]
)
def test_what_is_no_interpreter_is_named(python, words, open_workshop):
    message, _ = refused(open_workshop, python=python)
    assert python in message
    assert words in message


def test_a_broken_jax_is_told(open_workshop, tmp_path):
    (tmp_path / "jax.py").write_text("raise RuntimeError('half an installation')\n")
    message, _ = refused(open_workshop, env={"PYTHONPATH": str(tmp_path)})
    assert "half an installation" in message


def test_variables_from_the_settings_reach_jax_before_it_starts(open_workshop):
    flags = "--xla_cpu_multi_thread_eigen=false"
    with open_workshop(env={"XLA_FLAGS": flags, "OWN_WORD": "seven"}) as shop:
        shop.write("model.py", "import os\ndef model(x):\n    return x + len(os.environ['OWN_WORD'])\n")
        run = shop.build(SPEC).run
    assert run.builds[0].failure is None
    assert run.environments[0]["variables"]["XLA_FLAGS"] == flags


def test_the_workers_environment():
    env = worker_environment({"A": "b", "JAX_ENABLE_COMPILATION_CACHE": "true"}, "cpu")
    assert env["A"] == "b"
    assert env["JAX_ENABLE_COMPILATION_CACHE"] == "false"  # what makes validation sound is not to be set
    assert env["JAX_PLATFORMS"] == "cpu"
    assert "JAX_PLATFORMS" not in worker_environment({}, "auto") or os.environ.get("JAX_PLATFORMS")


def test_where_forking_is_not_safe_each_worker_is_an_interpreter_of_its_own(shop, tmp_path, short_runtime):
    # As on macOS. The line to the worker is the same, so one build shows that it works.
    scratch = Path(short_runtime, "fresh")
    scratch.mkdir()

    async def hire():
        env = worker_environment({}, "cpu")
        async with Zygotes(sys.executable, env, scratch, str(scratch), fork=False) as fresh:
            await fresh.start(["reference"], alone=True)
            worker = await fresh.worker("challenger")
            assert fresh.pids() == []
            await worker.send(do="discover", files=["model.py"], **shop.pool._surroundings(scratch))
            answer = await worker.receive(60)
            await worker.dismiss()
            ended = await worker._ended
            return worker.pid, answer, ended

    pid, answer, ended = shop.call(hire())
    assert answer["did"] == "discovered"
    assert isinstance(ended, int)
    assert not psutil.pid_exists(pid)


def test_strangers_at_the_workers_socket_are_turned_away(shop):
    import socket

    path = str(shop.pool._scratch / "workers.sock")
    for words in (b"", b"junk\n", b'{"name": "nobody"}\n', b'{"name": []}\n', b"[]\n", b"\xff\xfe\n"):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect(path)
            link.sendall(words)
            link.shutdown(socket.SHUT_WR)
            assert link.recv(1) == b""
    assert shop.built(SPEC)


def test_the_two_zygotes_differ_in_hash_seed():
    assert zygotes.hash_seed("reference") == zygotes.hash_seed("sibling") != zygotes.hash_seed("challenger")


def leaf(shop, *values):
    """A stored output leaf."""
    data = struct.pack(f"{len(values)}f", *values)
    name = shop.blobs.put(data)
    return Part("result", name, name, len(data), f"float32[{len(values)}]")


def test_one_leaf_that_cannot_be_read_costs_no_others_distance(shop):
    one, other, lost = leaf(shop, 1.0, 2.0), leaf(shop, 1.0, 2.5), leaf(shop, 7.0, 7.0)
    shop.blobs.remove(lost.raw)
    pairs = [Pair("threads:2", one, right) for right in (other, lost, one)]
    found = shop.call(shop.pool.measure(pairs))
    assert [None if delta is None else delta.max_abs for delta in found] == [0.5, None, 0.0]


def test_what_was_measured_before_time_ran_out_is_known(shop, monkeypatch):
    one, other = leaf(shop, 1.0), leaf(shop, 2.0)
    real = Worker.receive

    async def impatient(worker, timeout_s):
        message = await real(worker, timeout_s)
        heard.append(message)
        if len(heard) == 2:
            raise Overdue
        return message

    heard = []
    monkeypatch.setattr(Worker, "receive", impatient)
    found = shop.call(shop.pool.measure([Pair("threads:2", one, other)] * 3))
    assert [delta is None for delta in found] == [False, True, True]
    assert shop.call(shop.pool.measure([])) == []
