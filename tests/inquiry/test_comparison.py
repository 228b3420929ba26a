"""`diff`: which two builds are compared at which stage, and in which form."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace

import pytest

from pcvd.core.builds import Artifact, Build
from pcvd.core.model import Failure

HLO = b"HloModule jit_f\nadd\nsub\n"


def test_the_default_is_the_first_stage_that_differs_and_the_first_run_that_does(records):
    serial, same = records.build(), records.build()
    other = records.build(hlo=HLO, llvm=b"define void @g()\n")
    records.record(
        records.run("serial", serial),
        records.run("threads:2", same, same),
        records.run("processes:2", same, other),
    )
    document = records.ask("diff")
    assert {name: document[name] for name in ("stage", "left", "right", "equal", "form")} == {
        "stage": "hlo", "left": "serial", "right": "processes:2", "equal": False, "form": "canonical"
    }  # fmt: skip
    (part,) = document["parts"]
    assert part["diff"] == (
        "--- serial/hlo/hlo.txt\n+++ processes:2/hlo/hlo.txt\n"
        "@@ -1,3 +1,3 @@\n HloModule jit_f\n add\n-mul\n+sub\n"
    )  # fmt: skip
    assert (part["added"], part["removed"], part["cut"]) == (1, 1, False)
    assert records.ask("diff", stage="llvm")["parts"][0]["kernel"] == "f_kernel"


def test_any_two_runs_may_be_compared(records, twice):
    twice(hlo=HLO)
    backwards = records.ask("diff", left="threads:2", right="serial")
    assert "-sub\n+mul\n" in backwards["parts"][0]["diff"]
    themselves = records.ask("diff", left="serial", right="serial")
    assert (themselves["equal"], themselves["parts"]) == (True, [])


def test_where_nothing_differs_the_raw_forms_may(records, twice):
    twice(raws={"hlo": b"HloModule jit_f, id=2\nadd\nmul\n"})
    assert records.ask("diff")["equal"] is True
    document = records.ask("diff", form="raw")
    assert (document["stage"], document["equal"]) == ("hlo", False)
    assert "+HloModule jit_f, id=2" in document["parts"][0]["diff"]


THREE = b"\0\0\x80?\0\0@@"
MEASURED = {"max_abs": 1.0, "max_rel": 0.5, "max_ulps": 4194304.0}


def test_outputs_are_shown_element_by_element(records, twice):
    twice(output=THREE, distances=MEASURED)
    (part,) = records.ask("diff", stage="output")["parts"]
    assert part["leaf"].items() >= {"elements": 2, "differing": 1, **MEASURED}.items()
    apart = "@@ 1 of 2 elements differ, at most 1 apart, 0.5 relative, 4194304 ULPs @@"
    assert part["diff"].splitlines()[2:] == [apart, "-[1] 2.0", "+[1] 3.0"]
    (backwards,) = records.ask("diff", stage="output", left="threads:2", right="serial")["parts"]
    assert backwards["diff"].splitlines()[2:] == [apart, "-[1] 3.0", "+[1] 2.0"]


def test_between_two_challengers_nothing_was_measured(records):
    serial, three, none = records.build(), records.build(output=THREE), records.build(output=bytes(8))
    runs = [records.run("serial", serial)]
    runs += [records.run(f"threads:{1 + one}", build, build) for one, build in ((1, three), (2, none))]
    records.record(*runs)
    (part,) = records.ask("diff", stage="output", left="threads:2", right="threads:3")["parts"]
    assert part["leaf"]["max_abs"] is None
    assert part["diff"].splitlines()[2:] == [
        "@@ 2 of 2 elements differ @@", "-[0] 1.0", "-[1] 3.0", "+[0] 0.0", "+[1] 0.0"
    ]  # fmt: skip


def test_an_executable_is_shown_field_by_field(records, twice):
    twice(executable=b"\x02\x08\x01\x0a\x04next")
    (part,) = records.ask("diff", stage="executable")["parts"]
    assert '-  1: "text"\n+  1: "next"\n' in part["diff"]


def test_an_executable_of_an_unknown_format_is_told_by_its_digests(records, twice):
    twice(executable=b"\xff\xfe\xfd another format")
    (part,) = records.ask("diff", stage="executable")["parts"]
    assert part["diff"] == ""
    assert "no text" in part["remarks"][0]
    assert part["left"]["digest"] != part["right"]["digest"]


def test_a_stage_that_one_side_lacks(records, twice):
    twice(llvm=None)
    document = records.ask("diff", stage="llvm")
    assert document["equal"] is False
    assert document["remarks"] == ["threads:2 has no llvm: it was not built so far"]
    assert document["parts"][0]["remarks"] == ["f_kernel.ll: only serial has it"]


def test_a_stage_that_nobody_has_cannot_be_compared(records):
    build = records.build(llvm=None)
    records.record(records.run("serial", build), records.run("threads:2", build, build))
    assert records.ask("diff", stage="llvm")["equal"] is None


def test_with_only_a_reference_there_is_nothing_to_compare_it_with(records):
    records.record(records.run("serial", records.build()))
    document = records.ask("diff")
    assert document["equal"] is None
    assert "nothing but serial" in document["remarks"][0]


def test_both_sides_come_whole_where_another_tool_wants_them(records, twice):
    twice(object=b"\x7fELF other")
    (part,) = records.ask("diff", stage="object", part="f_kernel", whole="1")["parts"]
    assert [b64decode(side) for side in part["bytes"]] == [b"\x7fELF not really", b"\x7fELF other"]
    assert part["suffix"] == ".o"


def test_a_diff_of_megabytes_is_cut_and_says_so(records, twice):
    lines = [b"line %d" % number for number in range(30_000)]
    twice(hlo=b"\n".join(lines) + b"\n")
    (part,) = records.ask("diff")["parts"]
    assert part["added"] == 30_000
    assert part["cut"] is True
    assert "further lines" in part["remarks"][0]
    assert len(part["diff"].splitlines()) == 20_002


def failed(target="m.py:f"):
    return Build(target, 0, 1, "", 0, 0, 0, failure=Failure("crash", "its worker died", "m.py", 3))


@pytest.mark.parametrize("stage", [None, "hlo"])
def test_a_build_that_failed_is_not_equal_to_anything(records, stage):
    records.record(records.run("serial", records.build()), records.run("threads:2", failed()))
    document = records.ask("diff", **({"stage": stage} if stage else {}))
    assert (document["equal"], document["parts"]) == (None, [])
    assert document["remarks"] == ["threads:2 failed: m.py:3: its worker died"]


def test_of_two_copies_one_of_which_failed_the_other_is_compared(records):
    other = records.build(hlo=HLO)
    records.record(records.run("serial", records.build()), records.run("threads:2", failed(), other))
    document = records.ask("diff")
    assert (document["stage"], document["equal"]) == ("hlo", False)
    records.record(
        records.run("serial", records.build()), records.run("threads:2", failed(), records.build())
    )
    assert records.ask("diff")["equal"] is None


def test_a_run_that_went_no_further_than_a_stage_is_compared_so_far(records):
    short = records.build(**dict.fromkeys(("hlo", "llvm", "object", "executable", "output")))
    records.record(records.run("serial", records.build()), records.run("threads:2", short, short))
    document = records.ask("diff", right="threads:2")
    assert document["equal"] is True
    assert document["remarks"] == ["no stage differs; further than stablehlo they were not both built"]
    document = records.ask("diff", right="threads:2", stage="hlo")
    assert (document["equal"], document["remarks"]) == (None, ["threads:2 was not built as far as hlo"])


def test_what_returns_nothing_is_not_called_equal(records):
    build = records.build(output=None)
    nothing = Artifact.missing("output", "it returns nothing")
    build = replace(build, artifacts=(*build.artifacts, nothing))
    records.record(records.run("serial", build), records.run("threads:2", build))
    document = records.ask("diff")
    assert document["equal"] is None
    assert document["remarks"] == ["no stage differs, but there is no output to compare"]
