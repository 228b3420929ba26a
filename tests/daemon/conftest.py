from __future__ import annotations

import contextlib

import pytest

from pcvd.blobs import Blobs
from pcvd.builders.protocol import Carried
from pcvd.core.builds import STAGES, Artifact, Build, Part, Run
from pcvd.core.model import Failure

SETTINGS = """
    platform = "cpu"
    schedules = ["serial", "threads:2"]
    timeout_s = 60

    [[target]]
    entry = "models/first.py:model"
    args = ["f32[4]"]

    [[target]]
    entry = "models/second.py:model"
    args = ["f32[4]"]
"""

MODEL = """
    from models.shared import FACTOR

    def model(x):
        return x * FACTOR + {}
"""

FILES = {
    "pcv.toml": SETTINGS,
    "models/shared.py": "FACTOR = 2.0\n",
    "models/first.py": MODEL.format(1.0),
    "models/second.py": "def model(x):\n    return x - 2.0\n",
}


@pytest.fixture(scope="session")
def files():
    """The files of a small project: two targets, one of which imports a module."""
    return dict(FILES)


@pytest.fixture(scope="session")
def settings():
    """The text of its pcv.toml."""
    return SETTINGS


@pytest.fixture(scope="session")
def fresh():
    """Have a daemon judge everything pending; the status, in which all targets are fresh."""

    def wait(project, code=0):
        document = project.json("wait", "--whole", "--timeout", "120", code=code)
        assert [target["target"] for target in document["targets"] if not target["fresh"]] == []
        return document

    return wait


@pytest.fixture(scope="module")
def project(new_project, files, fresh):
    """A small project whose daemon has judged it."""
    made = new_project(files)
    made.start()
    fresh(made)
    yield made
    made.end()


@pytest.fixture(scope="session")
def after():
    """The status documents of a daemon from a save until `holds(document)`, in turn."""

    @contextlib.contextmanager
    def watch(project, holds):
        seen = []
        with project.events() as coming:
            yield seen
            for document in coming:
                seen.append(document)
                if holds(document):
                    return

    return watch


class FakeBuilders:
    """Builders that make artifacts of a function's answers, and remember their orders.

    `makes(order, place)` gives, for the build of the order's slot at that place, the texts of its stages (a
    stage that is left out is as it always is), or a Failure, or raises what builders raise.
    """

    def __init__(self, blobs, makes):
        self.blobs, self.makes = blobs, makes
        self.orders = []

    async def carry_out(self, order):
        self.orders.append(order)
        wanted = STAGES[: STAGES.index(order.manner.until) + 1]
        together = order.schedule.overlap > 1
        builds = []
        for place, slot in enumerate(order.slots):
            made = self.makes(order, place)
            failure = made if isinstance(made, Failure) else None
            texts = {} if failure else {**dict.fromkeys(wanted, "the same"), **made}
            kept = {stage: text for stage, text in texts.items() if stage in wanted or stage not in STAGES}
            began = 0 if together else 10 * place
            builds.append(
                Build(
                    order.cohort[slot.target].entry, slot.copy, 1 + slot.share, "main", began, began + 1,
                    began + 10, "in", tuple(self.artifact(*one) for one in kept.items()), failure,
                    True, began + 2,
                )
            )  # fmt: skip
        entries = tuple(order.cohort[slot.target].entry for slot in order.slots)
        run = Run(order.name, entries, tuple(builds), order.zygote, 1, (0,), ({"jax": "0"},))
        return Carried(run, {})

    def artifact(self, stage, texts):
        """An artifact of a text, or of the texts of its parts by name."""
        named = texts if isinstance(texts, dict) else {f"{stage}.txt": texts}
        parts = []
        for name, text in named.items():
            raw, canonical = text if isinstance(text, tuple) else (text, text)
            raw, canonical = (self.blobs.put(one.encode()) for one in (raw, canonical))
            parts.append(Part(name, raw, canonical, len(text)))
        return Artifact.of(stage, parts)


@pytest.fixture(scope="session")
def fake_in():
    """Make fake builders that put their artifacts into a folder."""
    return lambda objects, makes: FakeBuilders(Blobs(objects), makes)


@pytest.fixture
def fake(tmp_path, fake_in):
    """Make fake builders whose artifacts are what a function says."""
    return lambda makes: fake_in(str(tmp_path / "objects"), makes)
