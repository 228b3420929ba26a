"""Explanations: from what is recorded of a round to a tree of differences and its sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pcvd.core import chronicle, explain
from pcvd.core.builds import STAGES, Artifact, Build, Part, Run
from pcvd.core.case import Case
from pcvd.core.chronicle import Chapter
from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.explain import Reading
from pcvd.core.leaves import Leaf, Sample
from pcvd.core.model import Failure, Judgement, OutputDelta, digest

F, G = "m.py:f", "m.py:g"
TOLERATED = ("llvm", "object", "executable")


def part(text, name="main", label="", rules=()):
    return Part(name, digest(f"raw {text}".encode()), digest(text.encode()), len(text), label, rules)


def build(target=F, until="output", **changed):
    """A build whose artifacts are as usual but for the stages `changed`; one that is None was never made."""
    artifacts = []
    for stage in STAGES[: STAGES.index(until) + 1]:
        parts = changed.get(stage, [part(stage, label="float32[2]" if stage == "output" else "")])
        if parts is not None:
            artifacts.append(parts if isinstance(parts, Artifact) else Artifact.of(stage, parts))
    artifacts.append(Artifact.of("locations", [part(changed.get("locations", "here"))]))
    return Build(target, 0, 1, "MainThread", 10, 20, 30, "in", tuple(artifacts), None, True, 25)


def run(schedule, *builds, order=(F,)):
    return Run(schedule, order, builds, "zygote", 1, (0,), ({"jax": "0.10.2"},))


def concurrent(schedule, one):
    """A run of `threads:N` in which N copies of a build overlapped."""
    workers = int(schedule.partition(":")[2])
    return run(schedule, *[one] * workers, order=(F,) * workers)


def case(*runs, judgement=None, tolerate=TOLERATED, rounds=3, fresh=True, **changes):
    found = judgement or judge(F, runs, Facts(tolerate, {}, {}))
    counted = replace(found, evidence=found.evidence | {"rounds": rounds, "agreed": rounds})
    told = replace(counted, **changes)
    return Case(told, runs, 7, "2026-01-01T00:00:00Z", "saved", (F,), fresh, tolerate)


def stage(document, name):
    return next(one for one in document["stages"] if one["stage"] == name)


KERNELS = [part("k1", "obj-file.one.o"), part("k2", "obj-file.two.o")]
OTHER = [part("k1", "obj-file.one.o"), part("other", "obj-file.two.o")]


@pytest.fixture
def equivalent():
    """Machine code differs in one kernel under two of three runs."""
    return case(
        run("serial", build(object=KERNELS)),
        concurrent("threads:2", build(object=OTHER)),
        concurrent("threads:4", build(object=KERNELS)),
        run("control", build(object=OTHER)),
    )


def test_differing_stages_come_first_and_name_the_part_the_kernel_and_the_runs(equivalent):
    document = explain.document(equivalent, {})
    assert (document["verdict"], document["first_stage"], document["round"]) == ("equivalent", "object", 7)
    assert [one["stage"] for one in document["stages"]] == ["object", *(s for s in STAGES if s != "object")]
    assert stage(document, "object") == {
        "stage": "object",
        "state": "differs",
        "tolerated": True,
        "rules": [],
        "why": None,
        "runs": {"threads:2": "differs", "threads:4": "identical", "control": "differs"},
        "parts": [
            {
                "name": "obj-file.two.o", "kernel": "two", "runs": ["threads:2", "control"], "only": None,
                "added": None, "removed": None, "excerpt": [], "remarks": [],
            }
        ],
        "more_parts": 0,
    }  # fmt: skip
    assert stage(document, "hlo")["state"] == "identical"
    what = document["says"]["what"]
    under = "under threads:2 and control, not under threads:4"
    assert what[0] == f"the object code of kernel two is what differs first, {under}"
    assert what[1:] == [
        "the jaxpr, StableHLO, optimized HLO and LLVM IR are identical",
        "outputs are bit-identical",
    ]
    assert document["evidence"]["rounds"] == 3


def test_what_was_seen_of_a_part_stands_with_it(equivalent):
    (pair,) = explain.wanted(equivalent)
    reading = Reading(2, 1, ("@@ -1,1 +1,2 @@", "-a", "+b", "+c"), remarks=("cut short",))
    (found,) = stage(explain.document(equivalent, {pair: reading}), "object")["parts"]
    assert (found["added"], found["removed"], found["excerpt"][1], found["remarks"]) == (
        2,
        1,
        "-a",
        ["cut short"],
    )


def test_the_cause_leads_with_its_evidence_and_its_way_out(equivalent):
    cause = {
        "kind": "compile-order", "kernel": "two", "pass": "small-while-loop-hoisting", "file": "m.py",
        "line": 41,
        "text": "XLA's result depends on what its process has compiled before",
        "workaround": "XLA_FLAGS=--xla_disable_hlo_passes=small-while-loop-hoisting",
        "hint": "XLA's doing, not the model's",
        "evidence": [
            {"variation": "hash-seed", "what": "with another hash seed", "builds": 5, "differs": 0},
            {"variation": "order", "what": "built in another order", "builds": 5, "differs": 5},
            {"variation": "affinity", "what": "on one core", "builds": 0, "differs": 0},
        ],
        "remarks": ["the pass could not be proved"],
    }  # fmt: skip
    document = explain.document(replace(equivalent, judgement=replace(equivalent.judgement, cause=cause)), {})
    says = document["says"]
    assert says["where"] == "m.py:41"
    assert says["why"][:2] == [
        cause["text"],
        "it differs in 5 of 5 builds in another order, in 0 of 5 with another hash seed",
    ]
    assert says["do"][:2] == [f"{cause['workaround']} avoids it", cause["hint"]]
    assert "the pass could not be proved" in document["remarks"]


def test_where_is_the_whole_sentence_about_the_place(equivalent):
    place = "m.py:41 (jit(f)/while): kernel `two` is the call of the optimized module"
    cause = {"kind": "compile-order", "file": "m.py", "line": 41, "place": place, "text": "so"}
    document = explain.document(replace(equivalent, judgement=replace(equivalent.judgement, cause=cause)), {})
    assert document["says"]["where"] == place


def test_advice_is_about_what_made_the_verdict(equivalent):
    cause = {"kind": "run", "stage": "output", "text": "so", "hint": "look for callbacks"}
    document = explain.document(replace(equivalent, judgement=replace(equivalent.judgement, cause=cause)), {})
    assert document["says"]["do"][0] == "look for callbacks"
    assert not any("--repro" in step for step in document["says"]["do"])


def test_an_agreement_of_which_nothing_is_recorded_claims_nothing(equivalent):
    bare = Judgement(F, "agree", evidence={"schedules": {"serial": {}, "threads:2": {}}})
    document = explain.document(replace(equivalent, judgement=bare, runs=()), {})
    assert document["says"]["what"][0] == "which stages were compared is recorded no more"


def test_who_else_was_under_way_when_a_worker_ended_is_told():
    dead = replace(run("threads:2"), culprits=(F, "m.py:g"))
    found = case(run("serial", build()), dead)
    assert any(
        one.startswith("m.py:f and m.py:g were under way") for one in explain.document(found, {})["remarks"]
    )


def test_what_could_be_told_by_type_alone_is_a_remark():
    parts = [part("jaxpr"), replace(part("named", "callables.txt"), label="2 by type")]
    one = build(jaxpr=parts)
    document = explain.document(case(run("serial", one), concurrent("threads:2", one)), {})
    assert document["evidence"]["named_by_type"] == 2
    assert any("2 objects could be told by type alone" in remark for remark in document["remarks"])


def test_distances_that_are_not_known_are_told(equivalent):
    output = {"bitwise": False, "max_abs": 1e-9, "within_tolerance": False, "unmeasured": 2}
    judgement = replace(equivalent.judgement, output=output)
    what = explain.document(replace(equivalent, judgement=judgement), {})["says"]["what"]
    assert what[-2:] == [
        "outputs are at most 1e-09 apart, beyond tolerance",
        "how far 2 of their leaves are apart is not known",
    ]


def test_variations_that_could_not_be_tried_are_remarks(equivalent):
    evidence = equivalent.judgement.evidence | {
        "untried": ["affinity could not be tried: there is one core only"]
    }
    judgement = replace(equivalent.judgement, evidence=evidence)
    assert (
        "affinity could not be tried: there is one core only"
        in (explain.document(replace(equivalent, judgement=judgement), {})["remarks"])
    )


def test_a_cause_of_an_older_version_has_only_what_it_has(equivalent):
    for cause in (None, {"kind": "thread"}, {"kind": "schedule", "text": "it differs", "file": "m.py"}):
        document = explain.document(
            replace(equivalent, judgement=replace(equivalent.judgement, cause=cause)), {}
        )
        assert document["cause"] == cause
        assert document["says"]["what"]


def test_counts_that_the_text_holds_already_are_not_said_twice(equivalent):
    evidence = [
        {"variation": "order", "what": "in another order", "builds": 1, "differs": 1},
        {"variation": "thread", "what": "on a pool's thread", "builds": 2, "differs": 0},
    ]
    headline = "it depends on the order"
    text = f"{headline}: object differs in 1 of 1 build in another order"
    cause = {"kind": "order", "headline": headline, "text": text, "evidence": evidence}
    document = explain.document(replace(equivalent, judgement=replace(equivalent.judgement, cause=cause)), {})
    assert document["says"]["why"][:2] == [
        headline,
        "it differs in 1 of 1 build in another order, in 0 of 2 on a pool's thread",
    ]


def test_an_agreement_tells_what_was_compared_how_often_and_by_which_rules():
    serial = build(executable=[part("same", rules=("module-id",))])
    raw = replace(part("same", rules=("module-id",)), raw=digest(b"other before the rules"))
    other = build(executable=[raw])
    document = explain.document(case(run("serial", serial), concurrent("threads:2", other)), {})
    assert document["verdict"] == "agree"
    assert {one["state"] for one in document["stages"]} == {"identical"}
    assert stage(document, "executable")["rules"] == ["module-id"]
    assert document["says"]["what"][0] == "every stage is the same under serial and threads:2"
    assert (
        "3 builds in the last round, at most 2 in flight at once; agreed in 3 of 3 rounds"
        in document["says"]["what"][1]
    )
    assert "module-id" in document["says"]["why"][0]
    assert document["outputs"] == [
        {"path": "main", "label": "float32[2]", "bitwise": True, "runs": {"threads:2": {"bitwise": True}}}
    ]


def test_runs_of_variations_are_shown_and_one_that_stopped_early_is_no_difference(equivalent):
    varied = (
        *equivalent.runs,
        run("order", build(object=OTHER, until="object")),
        run("neighbours:m.py:g", build(until="hlo")),
    )
    document = explain.document(replace(equivalent, runs=varied), {})
    assert stage(document, "object")["runs"]["order"] == "differs"
    assert stage(document, "object")["runs"]["neighbours:m.py:g"] == "not compared"
    assert stage(document, "executable")["runs"]["order"] == "not compared"
    assert stage(document, "executable")["state"] == "identical"
    assert stage(document, "hlo")["runs"]["neighbours:m.py:g"] == "identical"


def test_a_stage_absent_everywhere_is_no_evidence_and_absent_on_one_side_a_difference():
    missing = Artifact.missing("llvm", "this XLA shows none")
    everywhere = case(run("serial", build(llvm=missing)), concurrent("threads:2", build(llvm=missing)))
    found = stage(explain.document(everywhere, {}), "llvm")
    assert (found["state"], found["why"], found["runs"]) == (
        "absent", "this XLA shows none", {"threads:2": "absent"}
    )  # fmt: skip
    assert explain.document(everywhere, {})["says"]["what"][0].startswith(
        "the jaxpr, StableHLO, optimized HLO, "
    )
    one_side = case(run("serial", build()), concurrent("threads:2", build(llvm=missing)))
    found = stage(explain.document(one_side, {}), "llvm")
    assert (found["state"], found["why"]) == ("differs", "threads:2: this XLA shows none")
    assert [one["only"] for one in found["parts"]] == ["reference"]


def with_output(*texts):
    return build(output=[part(text, f"[{n}]", "float32[2]") for n, text in enumerate(texts)])


def apart(schedule, text, max_abs, **changed):
    """What was measured of a leaf with that text, the second of the outputs."""
    content = part(text, "[1]", "float32[2]")
    measured = {"max_rel": 0.25, "max_ulps": 3.0, "differing": 1, "elements": 2, "first": (1,)}
    return OutputDelta(
        schedule, content.name, content.label, False, max_abs=max_abs, **measured | changed,
        digest=content.canonical,
    )  # fmt: skip


def judged(*runs, deltas, kept=True):
    """A case whose verdict rests on these distances; `kept`: its builds are there still."""
    found = case(*runs, judgement=judge(F, runs, Facts(TOLERATED, {F: deltas}, {})))
    return found if kept else replace(found, runs=())


def test_outputs_are_told_by_leaf_and_run():
    found = judged(
        run("serial", with_output("a", "b")),
        concurrent("threads:2", with_output("a", "c")),
        run("control", with_output("a", "b")),
        deltas=[apart("threads:2", "c", 0.5)],
    )
    (pair,) = explain.wanted(found)
    leaf = Leaf(2, 1, (Sample("[1]", "1.0", "1.5"),))
    same, other = explain.document(found, {pair: Reading(leaf=leaf)})["outputs"]
    assert same == {
        "path": "[0]", "label": "float32[2]", "bitwise": True,
        "runs": {"threads:2": {"bitwise": True}, "control": {"bitwise": True}},
    }  # fmt: skip
    assert other["runs"]["control"] == {"bitwise": True}
    assert other["runs"]["threads:2"] == {
        "bitwise": False, "elements": 2, "differing": 1,
        "max_abs": 0.5, "max_rel": 0.25, "max_ulps": 3.0, "within_tolerance": False,
        "samples": [{"index": "[1]", "left": "1.0", "right": "1.5"}], "remarks": [],
    }  # fmt: skip


def test_a_leaf_that_was_not_looked_into_still_has_what_was_measured():
    runs = run("serial", with_output("a", "b")), concurrent("threads:2", with_output("a", "c"))
    found = judged(*runs, deltas=[apart("threads:2", "c", math.inf)])
    told = explain.document(found, {})["outputs"][1]["runs"]["threads:2"]
    assert (told["max_abs"], told["differing"], told["elements"], told["samples"]) == (math.inf, 1, 2, [])


def test_a_variation_has_a_distance_where_its_bits_are_those_of_a_schedule():
    runs = run("serial", with_output("a", "b")), concurrent("threads:2", with_output("a", "c"))
    found = judged(*runs, deltas=[apart("threads:2", "c", 0.5)])
    varied = run("order", with_output("a", "c")), run("hash-seed", with_output("a", "d"))
    found = replace(found, runs=(*found.runs, *varied))
    readings = {pair: Reading(leaf=Leaf(2, 2)) for pair in explain.wanted(found)}
    told = explain.document(found, readings)["outputs"][1]["runs"]
    assert told["order"] == told["threads:2"]
    assert (told["hash-seed"]["differing"], told["hash-seed"]["max_abs"]) == (2, None)


def test_of_copies_that_differ_from_each_other_the_farthest_is_told():
    race = run("threads:2", with_output("a", "c"), with_output("a", "d"), order=(F, F))
    runs = run("serial", with_output("a", "b")), race, run("control", with_output("a", "b"))
    measured = [apart("threads:2", "c", 0.5), apart("threads:2", "d", 2.0)]
    for deltas in (measured, measured[::-1]):
        told = explain.document(judged(*runs, deltas=deltas), {})["outputs"][1]["runs"]["threads:2"]
        assert told["max_abs"] == 2.0
        assert told["remarks"] == ["its copies differ from each other: the farthest is shown"]


def test_distances_outlive_the_builds():
    runs = run("serial", with_output("a", "b")), concurrent("threads:2", with_output("a", "c"))
    found = judged(*runs, deltas=[apart("threads:2", "c", 0.5)], kept=False)
    (leaf,) = explain.document(found, {})["outputs"]
    assert (leaf["path"], leaf["label"], leaf["bitwise"]) == ("[1]", "float32[2]", False)
    assert (leaf["runs"].keys(), leaf["runs"]["threads:2"]["max_abs"]) == ({"threads:2"}, 0.5)


def test_a_verdict_of_an_older_version_has_no_distances():
    runs = run("serial", with_output("a", "b")), concurrent("threads:2", with_output("a", "c"))
    output = {"bitwise": False, "max_abs": 0.5, "max_rel": None, "within_tolerance": False}
    found = case(*runs, output=output)
    readings = {pair: Reading(leaf=Leaf(2, 1)) for pair in explain.wanted(found)}
    told = explain.document(found, readings)["outputs"][1]["runs"]["threads:2"]
    assert (told["differing"], told["elements"], told["max_abs"], told["max_ulps"]) == (1, 2, None, None)
    assert explain.document(replace(found, runs=()), {})["outputs"] == []


def test_other_source_positions_are_told_and_never_a_difference():
    found = case(run("serial", build()), concurrent("threads:2", build(locations="there")))
    document = explain.document(found, {})
    assert document["verdict"] == "agree"
    assert document["locations"] == {"identical": False, "runs": {"threads:2": "differs"}}


def test_a_pruned_round_is_told_from_its_verdict_alone(equivalent):
    document = explain.document(replace(equivalent, runs=()), {})
    assert stage(document, "object")["runs"] == {
        "threads:2": "differs", "threads:4": "identical", "control": "differs"
    }  # fmt: skip
    assert stage(document, "object")["parts"] == []
    assert stage(document, "hlo")["state"] == "identical"
    assert document["locations"]["identical"] is True
    assert "are gone" in document["remarks"][0]
    assert explain.wanted(replace(equivalent, runs=())) == []


def test_a_failed_build_is_told_by_its_failure_and_nothing_is_called_identical():
    failed = replace(build(), artifacts=(), failure=Failure("trace", "NameError: nope", "m.py", 3, "mend it"))
    found = case(run("serial", failed))
    document = explain.document(found, {})
    assert document["verdict"] == "inconclusive"
    assert {one["state"] for one in document["stages"]} == {"not compared"}
    assert document["says"]["what"] == ["m.py:3: NameError: nope"]
    assert document["says"]["do"] == ["mend it"]


def test_an_executable_that_contradicts_itself_has_no_run_to_blame():
    serial = replace(build(), repeats=False)
    found = case(run("serial", serial), concurrent("threads:2", replace(build(), repeats=False)))
    document = explain.document(found, {})
    assert document["says"]["what"][0] == "the output is what differs first, when the executable runs again"
    assert any("ran again" in remark for remark in document["remarks"])


def test_with_tolerate_empty_nothing_is_tolerated():
    runs = (run("serial", build(object=KERNELS)), concurrent("threads:2", build(object=OTHER)))
    document = explain.document(case(*runs, run("control", build(object=KERNELS)), tolerate=()), {})
    assert document["verdict"] == "diverged"
    assert stage(document, "object")["tolerated"] is False


def test_a_target_that_was_never_judged_is_an_open_question():
    assert explain.unjudged(F)["verdict"] == "inconclusive"
    assert explain.unjudged(F).keys() == explain.document(case(run("serial", build())), {}).keys()


def test_hundreds_of_kernels_are_named_up_to_a_limit_and_few_of_them_are_read():
    many = [part(f"{n}", f"obj-file.k{n:03d}.o") for n in range(200)]
    other = [part(f"other {n}", f"obj-file.k{n:03d}.o") for n in range(200)]
    found = case(run("serial", build(object=many)), concurrent("threads:2", build(object=other)))
    shown = stage(explain.document(found, {}), "object")
    assert (len(shown["parts"]), shown["more_parts"]) == (50, 150)
    assert len(explain.wanted(found)) < 20


# -- history -----------------------------------------------------------------------------------------


def chapter(number, verdict="agree", hlo="a", environment=None, cohort=(F,), evidence=None):
    stages = {"hlo": {"serial": hlo, "threads:2": hlo}, "output": {"serial": "o", "threads:2": "x"}}
    judgement = Judgement(F, verdict, stages=stages if hlo else {}, evidence=evidence or {})
    judged, checked = f"2026-01-0{number}T00:00:00Z", f"2026-01-0{number}T12:00:00Z"
    return Chapter(number, judged, checked, "saved", cohort, environment or {"jax": "1"}, judgement)


def test_a_history_tells_what_changed_since_the_verdict_before():
    older = chapter(1, environment={"jax": "1", "config": {"x64": "False", "seed": 1}})
    newer = chapter(2, "diverged", "b", {"jax": "2", "config": {"x64": "True", "seed": 1}}, (F, G))
    document = chronicle.document(F, [newer, older], 5)
    assert document["more"] is False
    assert [one["round"] for one in document["verdicts"]] == [2, 1]
    told = document["verdicts"][1]
    assert (told["judged_at"], told["checked_at"]) == ("2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z")
    assert document["verdicts"][0]["changed"] == {
        "verdict": ["agree", "diverged"],
        "stages": ["hlo"],
        "environment": {"jax": ["1", "2"], "config.x64": ["False", "True"]},
        "cohort": {"added": [G], "removed": []},
    }
    assert document["verdicts"][1]["changed"] is None


def test_the_last_verdict_shown_is_compared_with_the_one_that_is_not():
    document = chronicle.document(F, [chapter(3), chapter(2, hlo="b"), chapter(1)], 2)
    assert document["more"] is True
    assert [one["changed"]["stages"] for one in document["verdicts"]] == [["hlo"], ["hlo"]]


def test_a_history_tells_how_many_rounds_over_the_same_sources_agreed():
    counted = chapter(2, "diverged", evidence={"rounds": 50, "agreed": 47})
    uncounted = chapter(1)  # by a version that did not count
    told = chronicle.document(F, [counted, uncounted], 5)["verdicts"]
    assert [(one["rounds"], one["agreed"]) for one in told] == [(50, 47), (1, None)]


def test_where_a_verdict_remembers_no_digests_nothing_is_said_of_stages():
    document = chronicle.document(F, [chapter(2), chapter(1, "inconclusive", hlo=None)], 5)
    assert document["verdicts"][0]["changed"]["stages"] is None
