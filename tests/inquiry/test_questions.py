"""Questions: who is known, what is asked for, and what of the records is left to answer from."""

from __future__ import annotations

import asyncio
import math

import pytest

from pcvd.core.errors import UsageError
from pcvd.core.model import digest
from pcvd.inquiry import Inquiry, Now

F = "m.py:f"


def test_an_explanation_shows_the_beginning_of_each_difference(records, twice):
    distances = {"max_abs": math.inf, "max_ulps": 3.0, "differing": 1, "elements": 2, "first": (1,)}
    twice(hlo=b"HloModule jit_f\nadd\nsub\n", output=b"\0\0\x80?\0\0@@", distances=distances)
    document = records.ask("explain")
    hlo = document["stages"][0]
    assert (document["first_stage"], hlo["stage"], hlo["state"]) == ("hlo", "hlo", "differs")
    (part,) = hlo["parts"]
    assert (part["added"], part["removed"]) == (1, 1)
    assert part["excerpt"] == ["@@ -2,2 +2,2 @@", " add", "-mul", "+sub"]
    apart = document["outputs"][0]["runs"]["threads:2"]
    assert (apart["differing"], apart["elements"]) == (1, 2)
    # What was measured is told, infinite as it may be, and not what could be made of the bytes again.
    assert (apart["max_abs"], apart["max_rel"], apart["max_ulps"]) == (math.inf, None, 3.0)
    (leaf,) = document["output"]["leaves"]
    assert (leaf["max_abs"], leaf["first"], document["output"]["max_abs"]) == (math.inf, [1], math.inf)
    assert apart["samples"] == [{"index": "[1]", "left": "2.0", "right": "3.0"}]
    assert document["fresh"] is False


def test_only_a_daemon_knows_what_is_fresh(records, twice):
    twice()

    async def main():
        from pcvd.store import Store

        async with Store.reading(records.database) as store:
            inquiry = Inquiry(records.root, store, records.blobs)
            known = Now(frozenset({F, "new.py:f"}), frozenset({F}))
            return await inquiry.explain(F, known), await inquiry.explain("new.py:f", known)

    judged, new = asyncio.run(main())
    assert (judged["verdict"], judged["fresh"]) == ("agree", True)
    assert (new["verdict"], new["reason"]) == ("inconclusive", "not checked yet")


@pytest.mark.parametrize("question", ["explain", "diff", "history", "repro"])
def test_a_target_that_nobody_knows_is_refused_with_a_guess(records, twice, question):
    twice()
    with pytest.raises(UsageError) as caught:
        records.ask(question, "m.py:ff")
    assert caught.value.hint == 'did you mean "m.py:f"?'


@pytest.mark.parametrize("target", ["declared.py:f"])
def test_a_target_that_is_declared_but_was_never_judged_is_open(records, twice, target):
    twice()
    assert records.ask("explain", target)["verdict"] == "inconclusive"
    assert records.ask("diff", target)["equal"] is None
    assert records.ask("history", target)["verdicts"] == []
    with pytest.raises(UsageError, match="not checked yet"):
        records.ask("repro", target)


def test_where_nothing_was_ever_recorded_everything_is_open(records):
    inquiry = Inquiry(records.root, None, records.blobs)
    assert asyncio.run(inquiry.explain("declared.py:f"))["verdict"] == "inconclusive"
    with pytest.raises(UsageError, match="no target"):
        asyncio.run(inquiry.explain("other.py:f"))


@pytest.mark.parametrize("spoil", ["without", "spoil"])
def test_bytes_that_are_missing_or_torn_become_a_remark(records, twice, spoil):
    twice(hlo=b"HloModule jit_f\nother\n", output=b"\0\0\0\0\0\0\0\0")
    for data in (b"HloModule jit_f\nother\n", b"\0" * 8):
        getattr(records, spoil)(digest(data))
    document = records.ask("explain")
    assert document["verdict"] != "agree"
    (part,) = document["stages"][0]["parts"]
    assert "could not be read back" in part["remarks"][0]
    assert part["excerpt"] == []
    (leaf,) = document["outputs"]
    assert "could not be read back" in leaf["runs"]["threads:2"]["remarks"][0]
    difference = records.ask("diff")
    assert difference["equal"] is False
    assert "could not be read back" in difference["parts"][0]["remarks"][0]


def test_settings_that_cannot_be_read_do_not_keep_a_question_from_its_answer(records, twice):
    twice(hlo=b"HloModule jit_f\nother\n")
    with open(f"{records.root}/pcv.toml", "w") as file:  # noqa: PTH123
        file.write("nonsense [")
    assert any("settings cannot be read" in remark for remark in records.ask("explain")["remarks"])


def test_after_pruning_the_verdict_still_tells_which_stages_differed(records, twice):
    twice(cause=None, hlo=b"HloModule jit_f\nother\n")
    # Two rounds later only the last one's builds are evidence; here all are forgotten.
    records.record(
        records.run("serial", records.build()),
        records.run("threads:2", records.build(), records.build()),
    )
    records.prune()
    document = records.ask("explain")
    assert document["verdict"] == "agree"
    assert {one["state"] for one in document["stages"]} == {"identical"}
    assert "are gone" in document["remarks"][0]
    difference = records.ask("diff")
    assert difference["equal"] is None
    assert "are gone" in difference["remarks"][0]
    with pytest.raises(UsageError, match="nothing differs"):
        records.ask("repro")


def test_a_history(records, twice):
    twice()
    twice(hlo=b"HloModule jit_f\nother\n")
    document = records.ask("history", limit="1")
    assert [one["verdict"] for one in document["verdicts"]] == ["diverged"]
    assert document["more"] is True
    assert document["verdicts"][0]["changed"]["verdict"] == ["agree", "diverged"]
    assert document["verdicts"][0]["changed"]["stages"] == []


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("history", {"limit": "0"}),
        ("history", {"limit": "-1"}),
        ("history", {"limit": "many"}),
        ("history", {"limit": "1000000"}),
        ("diff", {"form": "cooked"}),
        ("diff", {"stage": "hlo2"}),
        ("diff", {"left": "threads:8"}),
        ("diff", {"stage": "hlo", "part": "nobody"}),
        ("status", {}),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(records, twice, question, asked):
    twice(hlo=b"HloModule jit_f\nother\n")
    with pytest.raises(UsageError) as caught:
        records.ask(question, **asked)
    assert caught.value.hint
