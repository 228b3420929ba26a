"""What is posted of where the watcher does not look."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest

from pcvd import lookout
from pcvd.changes import Changed, Changes
from pcvd.core.errors import SetupError
from pcvd.core.events import Declared, Ended, Judged, Outdated
from pcvd.core.model import Read, TargetSpec
from pcvd.core.plan import Plan
from pcvd.files import Files
from pcvd.lookout import Lookout
from pcvd.watch import Watch

ENTRY = "m.py:f"
JAX = Read("version", "jax", "1")


class Scene:
    """A project whose target has read a file outside of it."""

    def __init__(self, folder):
        root, self.outside = folder / "project", str(folder / "outside.txt")
        root.mkdir()
        self.write("one")
        self.files = Files()
        self.plan = Plan(root=str(root))
        self.changes = Changes(str(root), self.files)
        self.premises = SimpleNamespace(present=self.present)
        self.installed = [JAX]
        self.polls, self.posted = 0, []
        watch = Watch(str(root), ["."], [], 20, self.files.may_declare)
        self.lookout = Lookout(
            SimpleNamespace(current=None, watch=watch), self.plan, self.changes, self.files, self.premises,
            self.posted.append, self.count,
        )  # fmt: skip
        reads = {self.outside: self.files.digest(self.outside)}
        self.plan.handle(Declared((TargetSpec(ENTRY),)))
        self.plan.handle(Ended((Judged(ENTRY, "agree", reads),)))
        self.changes.know(reads)

    def write(self, text):
        with open(self.outside, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
        os.utime(self.outside, ns=(0, len(text)))

    async def present(self, _settings):
        if self.installed is None:
            raise SetupError("no interpreter")
        return tuple(self.installed)

    def count(self):
        self.polls += 1

    def play(self, *acts, premises=(JAX,)):
        """What is posted while the lookout polls; each of `acts` is done between two polls."""

        async def stage():
            polling = asyncio.create_task(self.lookout.poll(premises))
            async with asyncio.timeout(60):
                for act in (lambda: None, *acts):
                    act()
                    before = self.polls
                    while self.polls < before + 2:  # noqa: ASYNC110  # a whole one lies between
                        await asyncio.sleep(0.001)
            polling.cancel()

        asyncio.run(stage())
        return self.posted


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(lookout, "_POLL_S", 0.005)
    return Scene(tmp_path.resolve())


def test_nothing_is_posted_while_nothing_happens(scene):
    assert scene.play() == []


def test_a_file_outside_is_looked_at(scene):
    # It may be looked at between two steps of the write.
    assert set(scene.play(lambda: scene.write("two!"))) == {Changed(frozenset({scene.outside}))}


def test_what_was_saved_before_it_was_first_looked_at_is_told(scene):
    scene.write("two!")
    assert Changed(frozenset({scene.outside})) in scene.play()


def test_what_was_installed_since_verdicts_were_held_against_it_is_told(scene):
    scene.installed = [Read("version", "jax", "2")]
    assert scene.play() == [Outdated("the installed packages changed")]


def test_what_nobody_can_say_is_no_change(scene):
    def gone():
        scene.installed = None

    def back():
        scene.installed = [JAX]

    assert scene.play(gone, back) == []
    assert scene.play(premises=()) == []


def test_what_is_installed_and_is_no_version_is_no_package(scene):
    scene.installed = [JAX, Read("setting", "settings", "other")]
    assert scene.play() == []
