"""The whole engine against a check from scratch: a random project is edited, while it is built and while
nobody watches it, and what the daemon says of it in the end is what one says that has never seen it before.

Watcher, plan, rounds, verdicts and SQLite are the real ones. Only the compiler is not: a model is a line of
plain values, and what is compiled of it is the text of these values and of those of all files that it uses.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import hashlib
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcv_config import places
from pcvd import app, premises
from pcvd.blobs import Blobs
from pcvd.builders.protocol import Discovery
from pcvd.core import looks
from pcvd.core.model import Failure, Problem, Read, TargetSpec
from pcvd.core.programs import Program, digest_of
from pcvd.service import Service
from pcvd.store import Store

MODELS = ("m0.py", "m1.py", "pkg/m2.py")
HELPERS = ("h0.py", "pkg/h1.py", "d0.txt")
FILES = (*MODELS, *HELPERS)
SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2", "processes:2"]\nsoak = false\n'
PATIENCE_S = 60.0
OWED = "it agrees, but it differed beside"


class Unbuildable(Exception):
    """A model that cannot be built."""


class Language:
    """Builders of that language. Between what they do they wait a little, so that saves come in between."""

    def __init__(self, root, fake, pauses):
        self.root, self.fake, self.pauses = root, fake, pauses

    async def discover(self, files):
        targets, problems, reads = [], {}, {}
        for file in files:
            text, read = self.read(file)
            reads[file] = (read,)
            try:
                targets += [TargetSpec(f"{file}:{name}", ("f32[4]",)) for name in spec_of(text)["targets"]]
            except Unbuildable as error:
                problems[file] = Problem(str(error), file, 1)
        await self.pause()
        return Discovery(tuple(targets), problems, reads)

    async def carry_out(self, order):
        made = {spec.entry: self.trace(spec) for spec in order.cohort}
        await self.pause()
        if order.conference is not None:
            lowered = {entry: [self.program(entry, made[entry])] for entry in made}
            order = order.only(await order.conference.meet(order.name, lowered))
            await self.pause()

        def artifacts(order, place):
            program, _ = made[order.cohort[order.slots[place].target].entry]
            if isinstance(program, Failure):
                return program
            spec, text = program
            texts = dict.fromkeys(("jaxpr", "stablehlo", "hlo", "object", "output"), text)
            if spec["differs"] and not order.schedule.serial:
                texts[spec["differs"]] += " built at the same time"
            return texts

        carried = await self.fake(artifacts).carry_out(order)
        return replace(carried, reads={entry: reads for entry, (_, reads) in made.items()})

    async def measure(self, pairs, *, rtol=0.0):
        return [None for _ in pairs]

    async def prepare(self):
        pass

    async def rest(self):
        pass

    async def pause(self):
        for _ in range(next(self.pauses)):
            await asyncio.sleep(0.002)

    def trace(self, spec):
        """What a target is: its own values and the text of all that it uses, or a failure; and its reads."""
        reads, texts, own = {}, [], None
        waiting = [spec.path]
        while waiting:
            text, read = self.read(waiting.pop(0))
            if read in reads:
                continue
            reads[read] = None
            try:
                found = spec_of(text)
            except Unbuildable as error:
                return Failure("trace", str(error)), tuple(reads)
            own = own or found
            waiting += found["uses"]
            texts.append(f"{spec.function} {found['value']} {found['differs']}")
            if found["lines"]:
                texts.append(str(text.count("\n")))
            if found["quotes"]:
                reads[Read("file", looks.text(read.name), read.digest)] = None
                texts.append(text)
        return (own, "; ".join(texts)), tuple(reads)

    def program(self, entry, made):
        program, _ = made
        if isinstance(program, Failure):
            return Program(entry, None, None, "in", digest_of({}), closed=True)
        artifact = self.fake(None).artifact("jaxpr", program[1])
        return Program(entry, artifact.canonical, artifact.canonical, "in", digest_of({}), closed=True)

    def read(self, file):
        path = str(Path(self.root, file))
        try:
            data = Path(path).read_bytes()
        except OSError:
            return "", Read("absent", path)
        return data.decode(), Read("file", path, hashlib.sha256(data).hexdigest())


def spec_of(text):
    """The values that a file holds. Raises Unbuildable where there are none, or it is said to fail."""
    try:
        found = ast.literal_eval(text.partition("SPEC = ")[2])
    except (SyntaxError, ValueError) as error:
        raise Unbuildable("it holds nothing") from error
    if found["fails"]:
        raise Unbuildable(f"it fails with {found['value']}")
    return found


# -- edits -------------------------------------------------------------------------------------------

USUAL = {
    "targets": ["f"],
    "value": 0,
    "uses": [],
    "fails": False,
    "differs": "",
    "lines": False,
    "quotes": False,
}
VALUES = {
    "targets": st.sampled_from([["f"], ["f", "g"], []]),
    "value": st.integers(0, 3),
    "uses": st.lists(st.sampled_from(HELPERS), max_size=2),
    "fails": st.booleans(),
    "differs": st.sampled_from(["", "", "hlo", "object", "jaxpr"]),
    "lines": st.booleans(),
    "quotes": st.booleans(),
}


def text_of(values, comment):
    """A file that holds these values. That it declares targets is told by its words."""
    return f"# pcv target\n{comment}SPEC = {USUAL | values!r}\n"


contents = st.fixed_dictionaries({}, optional=VALUES)
comments = st.sampled_from(["", "# one\n", "# two\n", "# three\n# four\n"])
edits = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(FILES), contents, comments),
    st.tuples(st.just("change"), st.sampled_from(FILES), contents),
    st.tuples(st.just("comment"), st.sampled_from(FILES), comments),
    st.tuples(st.just("remove"), st.sampled_from(FILES)),
    st.tuples(st.just("move"), st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("garble"), st.sampled_from(FILES)),
)
steps = st.lists(
    st.one_of(
        edits.map(lambda edit: [edit]),
        st.lists(edits, min_size=2, max_size=4),  # a switch of branches
        st.sampled_from(["rest", "rest", "glance", "recheck", "restart"]),
    ),
    min_size=2,
    max_size=12,
)


class Project:
    """Files, and edits of them."""

    def __init__(self, root):
        self.root = Path(root)
        self.held = {}
        (self.root / "pkg").mkdir()
        (self.root / "pcv.toml").write_text(SETTINGS)
        for name in FILES:
            self.write(name, {"targets": ["f"] if name in MODELS else [], "uses": ["h0.py"]}, "")
        self.held["h0.py"] = ({"targets": []}, "")
        self.put("h0.py")

    def apply(self, edits):
        for edit in edits:
            self.edit(*edit)

    def edit(self, kind, name, *more):
        match kind:
            case "write":
                self.write(name, *more)
            case "change" if name in self.held:
                self.write(name, self.held[name][0] | more[0], self.held[name][1])
            case "comment" if name in self.held:
                self.write(name, self.held[name][0], *more)
            case "remove":
                self.held.pop(name, None)
                (self.root / name).unlink(missing_ok=True)
            case "move" if name in self.held and name != more[0]:
                self.held[more[0]] = self.held.pop(name)
                (self.root / name).rename(self.root / more[0])
            case "garble":
                self.held.pop(name, None)
                (self.root / name).write_text("# pcv target\nSPEC = {\n")

    def write(self, name, values, comment):
        self.held[name] = (values, comment)
        self.put(name)

    def put(self, name):
        path = self.root / f"{name}.new"
        path.write_text(text_of(*self.held[name]))
        path.rename(self.root / name)


# -- the engine --------------------------------------------------------------------------------------


class Engine:
    """A service over the project. `scratch`: one that knows nothing, and only does what it is asked."""

    def __init__(self, root, state, fake_in, pauses, *, scratch):
        self.root, self.state, self.scratch = root, state, scratch
        objects = f"{state}/objects"
        self.language = Language(root, lambda makes: fake_in(objects, makes), pauses)
        self.blobs = Blobs(objects)

    @contextlib.asynccontextmanager
    async def running(self):
        @contextlib.asynccontextmanager
        async def open_builders(_settings):
            yield self.language

        async with Store.open(f"{self.state}/pcv.sqlite") as store:
            publish = lambda *_: None  # noqa: E731
            service = Service(
                app.load(self.root), store, self.blobs, open_builders, publish, eager=not self.scratch
            )
            running = asyncio.create_task(service.run(watching=not self.scratch))
            try:
                await service.desk.recovered()
                yield service
                assert not running.done()
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running  # whatever else ended it is a fault


async def rest(service):
    """Once everything saved has been judged, under every schedule, and explained: what stands."""
    async with asyncio.timeout(PATIENCE_S):
        await service.desk.look()
        await service.desk.settled(explained=True, whole=True)
        await service.desk.look()
        await service.desk.settled(explained=True, whole=True)
    return told(service)


def told(service):
    """What is said of each target, but for what depends on how often and beside whom it was built."""
    return {
        one["target"]: {
            "fresh": one["fresh"],
            "verdict": one["verdict"],
            "reason": one["reason"],
            "first_stage": one["first_stage"],
            "stages": {
                stage: {name: made for name, made in digests.items() if name != "control"}
                for stage, digests in one["stages"].items()
            },
            "failure": one["failure"],
        }
        for one in service.desk.status().plain()["targets"]
    }


async def play(root, steps, pauses, fake_in):
    """Carry out the steps; what the daemon says at every rest, and what a check from scratch says there."""
    app.prepare_state(root)
    project, seen = Project(root), []
    engine = Engine(root, places.state(root), fake_in, pauses, scratch=False)
    waiting = [*steps, "rest"]
    while waiting:
        async with engine.running() as service:
            while waiting and (step := waiting.pop(0)) != "restart":
                match step:
                    case "rest":
                        seen.append((await rest(service), await from_scratch(root, fake_in)))
                    case "glance":
                        await asyncio.sleep(0.03)
                        told(service)
                    case "recheck":
                        await service.desk.recheck(None)
                    case _:
                        project.apply(step)
        if waiting and isinstance(waiting[0], list):  # nobody watches
            project.apply(waiting.pop(0))
    return seen


async def from_scratch(root, fake_in):
    with tempfile.TemporaryDirectory() as state:
        engine = Engine(root, state, fake_in, iter(lambda: 0, 1), scratch=True)
        async with engine.running() as service:
            await service.desk.recheck(None)
            await service.desk.settled(explained=True)
            return told(service)


@pytest.fixture(scope="module", autouse=True)
def answer():
    """The interpreter says what is installed once, not at every start."""
    known = asyncio.run(premises._ask(sys.executable))

    async def ask(_python):
        return known

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(premises, "_ask", ask)
        yield


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(steps=steps, pauses=st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_what_an_edited_project_comes_to_is_what_a_check_from_scratch_says(fake_in, steps, pauses):
    root = Path(tempfile.mkdtemp(prefix="pcv-engine-")).resolve()
    try:
        seen = asyncio.run(play(str(root), steps, iter_again(pauses), fake_in))
        for found, scratch in seen:
            assert excused(found, scratch) == scratch
    finally:
        shutil.rmtree(root)


def iter_again(pauses):
    while True:
        yield from pauses


def excused(found, scratch):
    """What is said of the targets, but for two things that only who has seen more can know: what a file
    declared before it was broken, and that agreement clears nothing without somebody beside whom there was a
    difference, and who fails now.
    """
    kept = {}
    for entry, one in found.items():
        if entry not in scratch and one["failure"] and one["fresh"]:
            continue
        kept[entry] = one
        if one["reason"] and one["reason"].startswith(OWED):
            beside = one["reason"].removeprefix(OWED).partition(", which")[0].strip().split(", ")
            assert one["verdict"] == "inconclusive"
            assert any(found[other]["failure"] for other in beside)
            kept[entry] = one | {"verdict": "agree", "reason": None}
    return kept
