"""Negative controls: a real round on which all is well, in which one thing is then made wrong. The comparison
must notice each, and name the stage; what it can't compare it must not call equal.
"""

from __future__ import annotations

import itertools
import math
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcvd.blobs import Blobs
from pcvd.builders.protocol import Carried
from pcvd.clock import utc_now
from pcvd.core.builds import REQUIRED_STAGES, STAGES, Artifact, Part
from pcvd.core.model import TargetSpec
from pcvd.round import Rounds

SCHEDULES = ("serial", "threads:2", "processes:2", "control")
TOLERATED = ("llvm", "object", "executable")
MODEL = """
    import jax, jax.numpy as jnp, numpy as np
    TABLE = np.arange(64, dtype=np.float32).reshape(8, 8) / 7

    def model(x):
        y = jnp.sort(jnp.tanh(x @ TABLE), axis=0)
        return {"sum": jnp.cumsum(y, axis=1) * 1.5, "most": y.max(axis=0)}

    def other(x):
        return x - 1
"""
MADE = [TargetSpec(f"controlled.py:{name}", ("f32[8,8]",)) for name in ("model", "other")]


class Recorder:
    """The real builders, and what came of each order."""

    def __init__(self, builders):
        self._builders = builders
        self.carried = {}

    async def carry_out(self, order):
        self.carried[order.schedule.name] = await self._builders.carry_out(order)
        return self.carried[order.schedule.name]

    def __getattr__(self, name):
        return getattr(self._builders, name)


class Replay:
    """What was recorded, changed here and there. Distances are measured by the real builders."""

    def __init__(self, builders, carried, changes):
        self._builders, self._carried, self._changes = builders, carried, changes

    async def carry_out(self, order):
        name = order.schedule.name
        carried = self._carried[name]
        return Carried(self._changes.get(name, lambda run: run)(carried.run), carried.reads)

    def __getattr__(self, name):
        return getattr(self._builders, name)


@pytest.fixture(scope="session")
def recorded(workshop):
    """A real round, order by order."""
    workshop.write("controlled.py", MODEL)
    recorder = Recorder(workshop.pool)
    settings = replace(workshop.settings, schedules=SCHEDULES)
    rounds = Rounds(recorder, settings, workshop.files, workshop.blobs, utc_now)
    outcome = workshop.call(rounds.hold(MADE, "recorded", ()))
    assert [one.verdict for one in outcome.record.judgements] == ["agree", "agree"]
    return recorder.carried


@pytest.fixture
def judged(workshop, recorded):
    """The judgements on both targets after the recorded round, with changes to its runs or its blobs."""

    def hold(blobs=workshop.blobs, tolerate=TOLERATED, **changes):
        changes = {name.replace("_", ":"): change for name, change in changes.items()}
        assert set(changes) <= set(recorded)
        settings = replace(workshop.settings, schedules=SCHEDULES, tolerate=tolerate)
        replay = Replay(workshop.pool, recorded, changes)
        outcome = workshop.call(
            Rounds(replay, settings, workshop.files, blobs, utc_now).hold(MADE, "again", ())
        )
        assert (outcome.again, outcome.changed) == ((), ())
        return outcome.record.judgements

    return hold


def builds_with(change):
    """A change of a run: `change` to the first build of the first target."""

    def apply(run):
        first = next(build for build in run.builds if build.target == MADE[0].entry)
        return replace(run, builds=tuple(change(one) if one is first else one for one in run.builds))

    return apply


def artifact_with(stage, change):
    """A change of a build: `change` to the parts of its artifact at `stage`."""

    def apply(build):
        old = build.artifact(stage)
        new = Artifact.of(stage, change([*old.parts]))
        assert new.canonical != old.canonical  # a control that changes nothing controls nothing
        return replace(build, artifacts=tuple(new if one is old else one for one in build.artifacts))

    return apply


def bytes_with(blobs, name, change):
    """A change of parts: `change` to the bytes of the one whose name begins with `name`."""

    def apply(parts):
        place = next(place for place, part in enumerate(parts) if part.name.startswith(name))
        old = parts[place]
        data = change(blobs.get(old.canonical))
        stored = blobs.put(data)
        parts[place] = Part(old.name, stored, stored, len(data), old.label, old.rules)
        return parts

    return apply


def flipped(place):
    """One bit of the byte at `place` is another."""

    def change(data):
        at = place % len(data)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return change


def spelled(old, new):
    """A text with `new` where `old` first stood."""

    def change(data):
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    return change


def with_nan(data):
    values = np.frombuffer(data, np.float32).copy()
    values[3] = math.nan
    return values.tobytes()


def swapped(parts):
    """Two kernels, each under the other's name."""
    one, other = parts[:2]
    assert one.canonical != other.canonical
    return [replace(one, name=other.name), replace(other, name=one.name), *parts[2:]]


PERTURBED = {
    "a constant of the jaxpr": ("jaxpr", "constant_", flipped(17)),
    "an equation": ("jaxpr", "jaxpr.txt", spelled("cumsum", "cumprod")),
    "a weak type": ("jaxpr", "signature.txt", spelled("float32[8]\n", "float32[8] weak\n")),
    "a donation": ("jaxpr", "signature.txt", spelled("donated []", "donated [0]")),
    "a constant of StableHLO": ("stablehlo", "", spelled("1.500000e+00", "1.500001e+00")),
    "a type in StableHLO": ("stablehlo", "", spelled("tensor<8x8xf32>", "tensor<8x8xbf16>")),
    "a constant of HLO": ("hlo", "", spelled("constant(1.5)", "constant(1.25)")),
    "a layout": ("hlo", "", spelled("f32[8,8]{1,0}", "f32[8,8]{0,1}")),
    "machine code": ("object", "", flipped(-100)),
    "the executable": ("executable", "", flipped(200)),
    "the last bit of a result": ("output", "", flipped(0)),
    "the sign of a result": ("output", "", flipped(3)),
    "a NaN among the results": ("output", "", with_nan),
}


def expected(stage, strict):
    return "equivalent" if stage in TOLERATED and not strict else "diverged"


@pytest.mark.parametrize("strict", [False, True], ids=["tolerant", "strict"])
@pytest.mark.parametrize("what", PERTURBED)
def test_whatever_is_perturbed_turns_the_verdict(workshop, judged, what, strict):
    stage, name, change = PERTURBED[what]
    build = artifact_with(stage, bytes_with(workshop.blobs, name, change))
    tolerate = () if strict else TOLERATED
    found, other = judged(tolerate=tolerate, threads_2=builds_with(build))
    assert (found.verdict, found.first_stage) == (expected(stage, strict), stage)
    assert found.differing == (stage,)
    assert "threads:2" in found.reason
    assert "processes:2" not in found.reason
    assert (other.verdict, other.differing) == ("agree", ())


@pytest.mark.parametrize("what", PERTURBED)
def test_in_the_control_as_well_it_is_unstable(workshop, judged, what):
    stage, name, change = PERTURBED[what]
    change = builds_with(artifact_with(stage, bytes_with(workshop.blobs, name, change)))
    for changes in ({"control": change, "threads_2": change}, {"control": change}, {"serial": change}):
        found, other = judged(tolerate=(), **changes)
        assert (found.verdict, found.first_stage) == ("unstable", stage)
        assert other.verdict == "agree"


def test_nothing_perturbed_still_agrees(judged):
    assert [one.verdict for one in judged()] == ["agree", "agree"]
    assert [one.verdict for one in judged(tolerate=())] == ["agree", "agree"]


def test_a_nan_is_infinitely_far_away(workshop, judged):
    change = builds_with(artifact_with("output", bytes_with(workshop.blobs, "", with_nan)))
    for tolerate in ((), ("output",)):
        found, _ = judged(tolerate=tolerate, threads_2=change)
        assert found.verdict == "diverged"  # tolerated within tolerances only
        assert found.output["max_abs"] == math.inf
        assert found.output["within_tolerance"] is False


@pytest.mark.parametrize(
    "change", [swapped, lambda parts: parts[1:], lambda parts: [*parts, replace(parts[0], name="more.o")]],
    ids=["swapped", "one fewer", "one more"],
)  # fmt: skip
def test_kernels_that_are_not_the_same_turn_the_verdict(judged, change):
    change = builds_with(artifact_with("object", change))
    assert judged(threads_2=change)[0].verdict == "equivalent"
    found, other = judged(tolerate=(), threads_2=change)
    assert (found.verdict, found.first_stage, other.verdict) == ("diverged", "object", "agree")


def without(stage):
    def apply(build):
        lost = Artifact.missing(stage, "it was lost")
        return replace(build, artifacts=tuple(lost if one.stage == stage else one for one in build.artifacts))

    return builds_with(apply)


@pytest.mark.parametrize("stage", ["jaxpr", "object", "executable"])
def test_an_artifact_that_one_side_lacks_is_a_difference(judged, stage):
    found, _ = judged(tolerate=(), processes_2=without(stage))
    assert (found.verdict, found.first_stage) == ("diverged", stage)
    found, _ = judged(tolerate=(), serial=without(stage))
    assert (found.verdict, found.first_stage) == ("unstable", stage)


@pytest.mark.parametrize("stage", REQUIRED_STAGES)
@pytest.mark.parametrize(
    "sides", [["serial"], ["threads_2"], ["serial", "threads_2", "processes_2", "control"]]
)
def test_without_what_every_build_must_have_nothing_is_concluded(judged, stage, sides):
    found, other = judged(**dict.fromkeys(sides, without(stage)))
    assert found.verdict == "inconclusive"
    assert f"no {stage} (it was lost)" in found.reason
    assert other.verdict == "agree"


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "a bit flipped": lambda path: path.write_bytes(flipped(path.stat().st_size // 2)(path.read_bytes())),
    "something else": lambda path: path.write_bytes(zlib.compress(b"something else")),
    "more behind it": lambda path: path.write_bytes(zlib.compress(zlib.decompress(path.read_bytes()) + b" ")),
}


def stored(recorded):
    """The digests of all blobs of the recorded round."""
    builds = [build for carried in recorded.values() for build in carried.run.builds]
    parts = [part for build in builds for artifact in build.artifacts for part in artifact.parts]
    return {digest for part in parts for digest in (part.raw, part.canonical)}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "llvm"])
def test_what_can_not_be_read_back_is_not_compared(workshop, recorded, judged, tmp_path, stage, damage):
    for name in stored(recorded):
        copy = tmp_path / name[:2] / name[2:]
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(workshop.objects, name[:2], name[2:]), copy)
    build = recorded["threads:2"].run.of(MADE[0].entry)[0]
    part = build.artifact(stage).parts[-1]
    DAMAGES[damage](tmp_path / part.canonical[:2] / part.canonical[2:])
    found, other = judged(blobs=Blobs(str(tmp_path)))
    assert found.verdict == "inconclusive"
    assert found.reason.endswith(f"its {stage} could not be read back from the store")
    theirs = recorded["serial"].run.of(MADE[1].entry)[0].artifact(stage).parts
    shared = part.canonical in {one.canonical for one in theirs}
    assert other.verdict == ("inconclusive" if shared else "agree")


LATER = itertools.count(1)  # a second try is made when the first one is over


def one_after_another(run):
    times = [(build.began_ns, build.ended_ns) for build in run.builds]
    last = max(ended for _, ended in times)
    moved = [
        replace(
            build,
            began_ns=last * place,
            lowered_ns=last * place,
            compiling_ns=last * place,
            ended_ns=last * place + 1,
        )
        for place, build in zip(LATER, run.builds, strict=False)
    ]
    return replace(run, builds=tuple(moved))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run: replace(run, builds=run.of(MADE[1].entry)), "threads:2 did not come to build it"),
        (one_after_another, "threads:2 never really overlapped"),
        (builds_with(lambda build: replace(build, inputs="0" * 64)), "its example arguments differ"),
        (lambda run: replace(run, environments=()), "a worker did not tell of its environment"),
        (
            lambda run: replace(run, environments=tuple(one | {"jax": "0.1"} for one in run.environments)),
            "environments are unlike: jax is",
        ),
    ],
    ids=["not built", "not concurrent", "other arguments", "no environment", "another jax"],
)
def test_what_is_no_evidence_is_not_compared(judged, change, reason):
    found, _ = judged(threads_2=change)
    assert found.verdict == "inconclusive"
    assert reason in found.reason


def test_a_run_that_does_not_repeat_itself_is_unstable(judged):
    found, other = judged(threads_2=builds_with(lambda build: replace(build, repeats=False)))
    assert (found.verdict, found.first_stage, other.verdict) == ("unstable", "output", "agree")
