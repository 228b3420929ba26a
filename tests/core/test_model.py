"""The model's records: digests of artifacts, peaks, sentences."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pcvd.core.builds import REQUIRED_STAGES, STAGES, Artifact, Build, Part, Run, peak
from pcvd.core.model import Failure, TargetSpec, digest

WORDS = st.text("abc", min_size=1, max_size=2)
PARTS = st.builds(
    lambda name, raw, canonical, label: Part(
        name, digest(raw.encode()), digest(canonical.encode()), len(raw), label
    ),
    WORDS, WORDS, WORDS, st.sampled_from(["", "f32[2]", "i32[2]"]),
)  # fmt: skip
SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)).map(lambda one: (one[0], one[0] + one[1])))


def part(name: str, text: str, label: str = "") -> Part:
    return Part(name, digest(b"raw " + text.encode()), digest(text.encode()), len(text), label)


def build(began: int, ended: int, target: str = "m.py:f") -> Build:
    return Build(target, 0, 1, "main", began, began, ended)


def run(*builds: Build) -> Run:
    return Run("threads:2", tuple(one.target for one in builds), builds, "challenger", 1, (0, 1), ({},))


def test_stages_that_are_required_are_stages():
    assert set(REQUIRED_STAGES) < set(STAGES)


def test_digest_is_sha256():
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


@given(st.lists(PARTS, min_size=1, max_size=5), st.randoms())
def test_an_artifact_does_not_depend_on_the_order_in_which_parts_were_found(parts, random):
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert Artifact.of("object", shuffled) == Artifact.of("object", parts)


def test_an_artifact_of_one_part_has_that_parts_digests():
    only = part("executable", "bytes")
    artifact = Artifact.of("executable", [only])
    assert (artifact.raw, artifact.canonical) == (only.raw, only.canonical)
    assert artifact.parts == (only,)
    assert artifact.absent is None


@pytest.mark.parametrize(
    "other",
    [
        [part("a", "1"), part("b", "3")],
        [part("a", "1"), part("c", "2")],
        [part("a", "2"), part("b", "1")],
        [part("a", "1"), part("b", "2", "f32[2]")],
        [part("a", "1")],
        [part("a", "1"), part("b", "2"), part("b", "2")],
    ],
    ids=["bytes", "name", "swapped", "label", "fewer", "twice"],
)
def test_other_parts_make_another_artifact(other):
    assert (
        Artifact.of("output", other).canonical
        != Artifact.of("output", [part("a", "1"), part("b", "2")]).canonical
    )


@given(st.lists(PARTS, min_size=2, max_size=4), st.lists(PARTS, min_size=2, max_size=4))
def test_canonical_digests_are_equal_only_for_equal_names_labels_and_canonical_bytes(left, right):
    def meant(parts: list[Part]) -> list[tuple[str, str, str]]:
        return sorted((one.name, one.label, one.canonical) for one in parts)

    assume(meant(left) != meant(right))
    assert Artifact.of("output", left).canonical != Artifact.of("output", right).canonical


def test_raw_and_canonical_digests_are_kept_apart():
    left = Part("a", digest(b"1"), digest(b"same"), 1, "", ("module-id",))
    right = Part("a", digest(b"2"), digest(b"same"), 1, "", ("module-id",))
    others = [part("b", "x")]
    one, two = Artifact.of("object", [left, *others]), Artifact.of("object", [right, *others])
    assert one.canonical == two.canonical
    assert one.raw != two.raw


def test_an_artifact_without_parts_is_absent():
    # Nothing on both sides would be equal to itself, and pass for evidence.
    artifact = Artifact.of("hlo", [])
    assert artifact.raw is None
    assert artifact.canonical is None
    assert artifact.absent


def test_a_missing_artifact_tells_why():
    artifact = Artifact.missing("llvm", "the compiler shows none")
    assert artifact == Artifact("llvm", None, None, (), "the compiler shows none")


def test_a_build_knows_its_artifacts_by_stage():
    hlo = Artifact.of("hlo", [part("hlo", "x")])
    one = Build("m.py:f", 0, 1, "main", 1, 2, 3, artifacts=(hlo,))
    assert one.artifact("hlo") is hlo
    assert one.artifact("object") is None


# -- peaks -----------------------------------------------------------------------------------------


@given(SPANS)
def test_peak_is_what_counting_at_every_moment_gives(spans):
    counted = [sum(start <= moment < end for start, end in spans) for moment in range(20)]
    assert peak(spans) == max(counted)


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(1, 5)], 1),
        ([(1, 5), (5, 9)], 1),  # one began when the other had ended: serial is no overlap
        ([(1, 6), (5, 9)], 2),
        ([(1, 9), (2, 3), (4, 5)], 2),
        ([(0, 4), (1, 4), (2, 4), (3, 4)], 4),
        ([(3, 3)], 0),
    ],
)
def test_peaks(spans, most):
    assert peak(spans) == most


def test_a_runs_peak_and_wall_time_come_from_its_finished_builds():
    crashed = build(1, 0)  # its end was never reported
    one = run(build(100, 300), crashed, build(250, 400), build(380, 900))
    assert one.peak_in_flight == 2
    assert one.wall_ns == 800


def test_a_pause_between_builds_is_no_time_of_a_run():
    assert run(build(100, 300), build(200, 400), build(900, 1000)).wall_ns == 400


def test_who_was_under_way_beside_a_target():
    a, b, c = build(0, 10, "m.py:a"), build(0, 10, "m.py:b"), build(10, 20, "m.py:c")
    waves = run(*(replace(one, compiling_ns=one.began_ns + 1) for one in (a, b, c)))
    assert [waves.in_flight_beside(f"m.py:{name}") for name in "abc"] == [2, 2, 1]
    assert [waves.compiling_beside(f"m.py:{name}") for name in "abc"] == [2, 2, 1]
    assert waves.in_flight_beside("m.py:d") == waves.compiling_beside("m.py:d") == 0
    # Two that it met one after the other were never there at once.
    met = run(build(0, 4, "m.py:a"), build(4, 9, "m.py:b"), build(1, 9, "m.py:c"))
    assert met.in_flight_beside("m.py:c") == 2


def test_two_runs_of_a_schedule_as_one():
    first, later = run(build(0, 10, "m.py:a"), build(0, 10, "m.py:b")), run(build(20, 30, "m.py:a"))
    one = first.joined(later)
    assert [(each.target, each.copy) for each in one.builds] == [("m.py:a", 0), ("m.py:b", 0), ("m.py:a", 1)]
    assert one.order == (*first.order, *later.order)
    assert one.environments == (*first.environments, *later.environments)
    assert one.schedule == first.schedule


@pytest.mark.parametrize("builds", [(), (build(5, 0),)])
def test_a_run_that_finished_nothing_took_no_time(builds):
    assert run(*builds).peak_in_flight == 0
    assert run(*builds).wall_ns == 0


def test_a_runs_builds_of_a_target_include_its_copies():
    a, b, again = build(1, 2, "m.py:a"), build(1, 2, "m.py:b"), build(3, 4, "m.py:a")
    assert run(a, b, again).of("m.py:a") == (a, again)
    assert run(a, b).of("m.py:c") == ()


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (Failure("trace", "boom", "m.py", 3, hint="mend it"), "m.py:3: boom"),
        (Failure("missing", "no such file", "m.py"), "m.py: no such file"),
        (Failure("crash", "killed by signal 9", hint="less memory"), "killed by signal 9"),
        (Failure("crash", "boom", None, 3), "boom"),
    ],
)
def test_a_failure_says_where_and_what_in_one_sentence(failure, sentence):
    assert failure.sentence() == sentence


@pytest.mark.parametrize(
    ("entry", "path", "function"),
    [
        ("models/mlp.py:forward", "models/mlp.py", "forward"),
        ("m.py:Net.__call__", "m.py", "Net.__call__"),
        ("odd:name/m.py:f", "odd:name/m.py", "f"),
    ],
)
def test_a_target_is_named_after_file_and_function(entry, path, function):
    spec = TargetSpec(entry)
    assert (spec.path, spec.function) == (path, function)
