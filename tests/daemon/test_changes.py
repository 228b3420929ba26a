"""From paths to what is news about them: real files, a real plan, a watcher that need not speak."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from pcvd.changes import Changes
from pcvd.core.events import Declared, Ended, Judged, Saved
from pcvd.core.model import TargetSpec
from pcvd.core.plan import Plan
from pcvd.files import Files
from pcvd.watch import Watch

ENTRY = "m.py:f"
MODEL = "import pcv\n\n@pcv.target('f32[4]')\ndef f(x):\n    return x\n"


class Project:
    """A folder with one model file, that has been asked for its targets and judged."""

    def __init__(self, root):
        self.root, self.files = root, Files()
        self.plan = Plan(root=str(root))
        self.watch = Watch(str(root), ["."], [], 20, self.files.may_declare)
        self.changes = Changes(str(root), self.files)
        self.model = root / "m.py"
        self.model.write_text(MODEL)
        self.plan.handle(Saved({}, frozenset({"m.py"})))
        self.plan.handle(Declared((TargetSpec(ENTRY),), "m.py", frozenset({str(self.model)})))
        self.plan.handle(Ended())
        self.judge(self.model)

    def judge(self, *paths):
        """A build of the target ends, that has read `paths`."""
        reads = {str(path): self.files.digest(str(path)) for path in paths}
        self.plan.handle(Ended((Judged(ENTRY, "agree", reads),)))
        while not self.plan.idle:  # the file is asked for its targets as well
            self.plan.handle(Ended())
        self.changes.know(reads)

    async def saved(self, *paths):
        """What the watcher's word of `paths` comes to, as the plan hears it."""
        event = await self.changes.saved(frozenset(map(str, paths)), self.plan, self.watch)
        if event is not None:
            self.plan.handle(event)
        return event


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path.resolve())


def test_a_comment_is_told_as_one(project):
    async def play():
        await project.changes.learn()
        before = project.files.digest(str(project.model))
        project.model.write_text(f"# a comment\n{MODEL}")
        return before, await project.saved(project.model)

    before, event = asyncio.run(play())
    assert event.cosmetic == {str(project.model): before}
    assert project.plan.fresh(ENTRY)
    assert project.plan.believes()


def test_a_file_that_is_emptied_is_asked_before_its_targets_go(project):
    """Many an editor empties a file to write it anew, and may be met in between."""

    async def play():
        project.model.write_text("")
        emptied = await project.saved(project.model)
        assert (emptied.declaring, emptied.gone) == ({"m.py"}, frozenset())
        assert project.plan.exists(ENTRY)
        assert project.plan.asking == {"m.py"}  # so nobody is told that all is well
        project.plan.handle(Declared((), "m.py", frozenset({str(project.model)})))
        assert not project.plan.exists(ENTRY)
        project.plan.handle(Ended())
        project.model.write_text("# still nothing\n")
        again = await project.saved(project.model)
        assert (again.declaring, again.gone) == (frozenset(), {"m.py"})

    asyncio.run(play())


def test_a_file_that_cannot_be_read_is_asked_before_its_targets_go(project, monkeypatch):
    def refused(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    async def play():
        monkeypatch.setattr("pcvd.files._read", refused)
        os.utime(project.model, ns=(0, 0))
        event = await project.saved(project.model)
        assert (event.declaring, event.gone) == ({"m.py"}, frozenset())
        assert project.plan.exists(ENTRY)

    asyncio.run(play())


def test_while_nobody_watched_a_file_that_declared_targets_goes_only_where_it_is_gone(project, monkeypatch):
    def refused(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    async def play():
        for name in ("other.py", "ignored.py"):
            (project.root / name).write_text("# nothing\n")
        watch = Watch(str(project.root), ["."], ["ignored.py"], 20, project.files.may_declare)
        told = ["m.py", "other.py", "ignored.py", "missing.py"]
        assert await project.changes.declaring(watch, told) == {"m.py", "other.py"}
        monkeypatch.setattr("pcvd.files._read", refused)
        os.utime(project.model, ns=(0, 0))
        assert await project.changes.declaring(watch, ["m.py"]) == {"m.py"}
        there = await project.changes.survey(project.plan, watch)
        assert (there.declaring, there.gone) == ({"m.py"}, frozenset())
        project.model.unlink()
        there = await project.changes.survey(project.plan, watch)
        assert (there.declaring, there.gone) == (frozenset(), {"m.py"})

    asyncio.run(play())


def test_a_file_that_is_removed_takes_its_targets_along(project):
    async def play():
        project.model.unlink()
        event = await project.saved(project.model)
        assert (event.declaring, event.gone) == (frozenset(), {"m.py"})
        assert not project.plan.exists(ENTRY)

    asyncio.run(play())


def test_what_was_seen_before_the_watcher_spoke_is_no_news_of_the_declarations_either(project):
    async def play():
        await project.changes.learn()
        project.model.write_text(f"# a comment\n{MODEL}")
        await project.saved(project.model)  # somebody asked for the status
        return await project.saved(project.model)

    assert not asyncio.run(play()).declaring
    assert project.plan.believes()


def test_a_model_file_that_is_broken_is_asked_again_at_any_save(project):
    project.plan.handle(Saved({str(project.model): "2"}, frozenset({"m.py"})))
    project.plan.handle(Ended((Judged(ENTRY, "agree", {}),)))
    project.plan.handle(Declared((), "m.py", frozenset({str(project.model)}), broken=True))
    project.judge(project.model)
    event = asyncio.run(project.saved(project.model))  # what it lacked may have been installed
    assert event.declaring == {"m.py"}


def test_what_a_file_held_while_nobody_read_it_is_forgotten(project):
    data = project.root / "d.txt"

    async def play():
        data.write_text("one")
        project.model.write_text(MODEL.replace("x\n", "x + 1\n"))
        await project.saved(project.model)  # it is being built: whatever is saved may come to matter
        data.write_text("two")
        await project.saved(data)
        project.judge(project.model)
        data.write_text("three")
        assert await project.saved(data) is None  # nobody reads it
        project.model.write_text(MODEL.replace("x\n", "x + 2\n"))
        await project.saved(project.model)
        project.judge(project.model, data)
        assert project.plan.fresh(ENTRY)
        data.write_text("two")
        await project.saved(data)
        assert not project.plan.fresh(ENTRY)

    asyncio.run(play())


def test_names_that_no_file_can_have_are_looked_at_by_nobody(project):
    odd = [str(project.root / "a\0b" / "c"), str(project.root / "\ud800" / "c"), str(project.root / "n\0")]
    project.plan.handle(Saved({str(project.model): "2"}))
    project.judge(project.model, *odd)
    assert set(odd[:2]) <= set(asyncio.run(project.changes.unseen(project.plan, project.watch)))


def test_a_folder_that_was_moved_here_is_looked_through(project, tmp_path_factory):
    async def play():
        elsewhere = tmp_path_factory.mktemp("elsewhere").resolve()
        (elsewhere / "deep").mkdir()
        (elsewhere / "deep" / "more.py").write_text(MODEL)
        (elsewhere / "plain.py").write_text("x = 1\n")
        moved = project.root / "models"
        elsewhere.rename(moved)
        return await project.saved(moved)

    assert asyncio.run(play()).declaring == {"models/deep/more.py"}


def test_model_files_that_come_and_go_while_nobody_watches_are_found_out(project):
    async def play():
        assert await project.changes.caught_up(project.plan, project.watch) == []
        (project.root / "more.py").write_text(MODEL)
        project.model.unlink()
        *_, event = await project.changes.caught_up(project.plan, project.watch)
        return event

    assert asyncio.run(play()) == Saved({}, frozenset({"more.py"}), frozenset({"m.py"}))


def test_a_save_that_a_build_saw_before_the_watcher_spoke_has_the_file_asked_all_the_same(project):
    async def play():
        asked = project.files.digest(str(project.model))
        project.plan.handle(
            Declared((TargetSpec(ENTRY),), "m.py", frozenset({str(project.model)}), seen=asked)
        )
        assert await project.saved(project.model) is None
        project.model.write_text(MODEL + MODEL.replace("def f", "def g"))
        project.changes = Changes(str(project.root), project.files)
        project.judge(project.model)
        return await project.saved(project.model)

    assert asyncio.run(play()) == Saved({}, frozenset({"m.py"}))
