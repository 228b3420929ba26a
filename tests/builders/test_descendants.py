"""What a model starts ends with its worker, wherever it hides."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from pcvd.core.model import TargetSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a worker")

STARTING = """
    import os, subprocess, sys
    from pathlib import Path

    SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]
    # One more generation, in a session of its own as well; the one in between is gone at once.
    TWICE = [sys.executable, "-c", f"import subprocess; "
             f"print(subprocess.Popen({SLEEP!r}, start_new_session=True, stdout=subprocess.DEVNULL).pid)"]

    def model(x):
        mark = Path(__file__).parent / "started"
        if not mark.exists():
            one = subprocess.Popen(SLEEP, start_new_session=True).pid
            two = subprocess.run(TWICE, stdout=-1, check=True, start_new_session=True).stdout
            mark.write_text(f"{one} {int(two)}")
        __ENDING__
        return x
"""

ENDINGS = {
    "returns": "pass",
    "raises": "raise RuntimeError('over')",
    "crashes": "os.abort()",
    "is cancelled": "import time; time.sleep(1000)",
}


def alive(pid):
    """The process, unless it has ended."""
    try:
        process = psutil.Process(pid)
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_a_model_started_ends_with_its_worker(ending, workshop, eventually):
    folder = f"starting/{ending.replace(' ', '_')}"
    workshop.write(f"{folder}/model.py", STARTING.replace("__ENDING__", ENDINGS[ending]))
    mark = workshop.path(folder, "started")
    spec = TargetSpec(f"{folder}/model.py:model", ("f32[4]",))
    if ending == "is cancelled":
        workshop.loop.call_soon_threadsafe(_begin, workshop, spec)
        eventually(lambda: mark.exists() and len(mark.read_text().split()) == 2, "they have started")
        workshop.loop.call_soon_threadsafe(workshop.working.cancel)
        eventually(workshop.working.done, "the order is given up")
    else:
        workshop.build(spec)
    pids = [int(pid) for pid in mark.read_text().split()]
    try:
        eventually(lambda: not any(alive(pid) for pid in pids), "all are gone")
    finally:
        for pid in pids:
            if process := alive(pid):
                process.kill()


def _begin(shop, spec):
    from pcvd.builders.protocol import Order
    from pcvd.core.schedule import SERIAL

    order = getattr(Order, "of", Order)((spec,), SERIAL, 0)
    shop.working = shop.loop.create_task(shop.pool.carry_out(order))


def test_closing_the_pool_ends_them_too(open_workshop, eventually):
    with open_workshop() as shop:
        shop.write("model.py", STARTING.replace("__ENDING__", ENDINGS["is cancelled"]))
        mark = shop.path("started")
        shop.loop.call_soon_threadsafe(_begin, shop, TargetSpec("model.py:model", ("f32[4]",)))
        eventually(lambda: mark.exists() and len(mark.read_text().split()) == 2, "they have started")
        pids = [int(pid) for pid in mark.read_text().split()]
        assert all(alive(pid) for pid in pids)
        shop.loop.call_soon_threadsafe(shop.working.cancel)
        eventually(shop.working.done, "the order is given up")
    assert not any(alive(pid) for pid in pids)


def test_processes_of_others_are_left_alone(workshop):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    try:
        workshop.write("starting/quiet.py", "def model(x):\n    return x\n")
        workshop.built(TargetSpec("starting/quiet.py:model", ("f32[4]",)), schedule="processes:2")
        assert stranger.poll() is None
        assert os.getpgid(stranger.pid) == os.getpgid(0)
    finally:
        stranger.kill()
        stranger.wait()


def test_children_are_found_with_and_without_the_kernels_list():
    # In a process of its own, which knows all its children.
    code = """if True:
        import os, subprocess, sys
        from pathlib import Path
        from pcvd.worker import descendants
        assert descendants.children() == set()
        ones = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) for _ in range(3)]
        pids = {one.pid for one in ones}
        assert descendants.children() == pids
        kept = ones.pop()
        descendants.kill_all(but={kept.pid})
        assert [one.wait() for one in ones] == [-9, -9]
        assert descendants.children() == {kept.pid}
        descendants.end_all()
        assert descendants.children() == set()
        kept.returncode = -9
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
