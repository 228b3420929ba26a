"""Rounds that only gather evidence, with the real pool and store: what counts, and what turns a verdict."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pcvd.builders.zygotes import hash_seed
from pcvd.core import events
from pcvd.core.model import Judgement, TargetSpec
from pcvd.core.schedule import SERIAL
from pcvd.core.variation import soaking
from pcvd.files import Files
from pcvd.means import Supply
from pcvd.orders import Orders
from pcvd.premises import Premises
from pcvd.store import Store
from pcvd.store.codec import decode

PLAIN = TargetSpec("soaked_plain.py:model", ("f32[4]",))
RARE = TargetSpec("soaked_rare.py:model", ("f32[4]",))
# The number of the round whose challengers have the hash seed that the model minds. Two targets stand the
# other way round in it.
RARE_SOAK = 3


def hashed(seed):
    """What `hash("pcv")` is under a hash seed."""
    return subprocess.run(
        [sys.executable, "-c", "print(hash('pcv'))"],
        env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, check=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def soaked(workshop, tmp_path):
    """Validate targets, then hold rounds that only gather evidence, and look into what they find; the
    judgements that stood after each.
    """
    seed = hash_seed(soaking(replace(SERIAL, kind="threads"), RARE_SOAK).zygote)
    workshop.write("soaked_plain.py", "def model(x):\n    return x + 5\n")
    workshop.write(
        "soaked_rare.py", f"def model(x):\n    return x * (3 if hash('pcv') == {hashed(seed)} else 2)\n"
    )

    def run(*specs, soaks):
        @contextlib.asynccontextmanager
        async def open_builders(_settings):
            yield workshop.pool

        async def work():
            stood = []
            entries = tuple(spec.entry for spec in specs)
            async with Store.open(str(tmp_path / "pcv.sqlite")) as store:
                await store.declare(specs)
                settings = replace(workshop.settings, schedules=("serial", "threads:2"))
                supply = Supply(settings, store, workshop.blobs, Files(), Premises(), open_builders)
                async with Orders(supply, store, workshop.blobs) as orders:
                    for number in (None, *range(1, soaks + 1)):
                        order = events.Validate(entries, "soak" if number else "new", soak=number, whole=True)
                        done = await orders.carry_out(order, specs)
                        (ended,) = done.events
                        puzzling = tuple(one.entry for one in ended.judged if one.puzzling)
                        explanations = done.explanations
                        if puzzling:
                            puzzle = events.Investigate(entries, puzzling, ended.round)
                            explanations += (await orders.carry_out(puzzle, specs)).explanations
                        for explanation in explanations:
                            await orders.remember(explanation)
                        standings = await store.standings()
                        stood.append({one.target.entry: decode(one.said, Judgement) for one in standings})
                rounds = await store.verdicts(specs[0].entry)
            return stood, len(rounds)

        return workshop.call(work())

    return run


def counts(judgement):
    return judgement.verdict, judgement.evidence["agreed"], judgement.evidence["rounds"]


def test_agreement_counts_and_leaves_no_rounds_behind(soaked):
    stood, recorded = soaked(PLAIN, soaks=3)
    assert [counts(one[PLAIN.entry]) for one in stood] == [
        ("agree", 1, 1), ("agree", 2, 2), ("agree", 3, 3), ("agree", 4, 4),
    ]  # fmt: skip
    assert recorded == 1


def test_what_shows_once_in_a_while_turns_the_verdict_and_stands(soaked):
    stood, recorded = soaked(RARE, PLAIN, soaks=4)
    assert [counts(one[RARE.entry]) for one in stood] == [
        ("agree", 1, 1), ("agree", 2, 2), ("agree", 3, 3), ("unstable", 3, 4), ("unstable", 4, 5),
    ]  # fmt: skip
    assert stood[-1][RARE.entry].first_stage == "jaxpr"
    assert counts(stood[-1][PLAIN.entry]) == ("agree", 5, 5)
    assert recorded == 2


def test_what_it_comes_from_is_looked_for_under_the_circumstances_in_which_it_showed(soaked):
    stood, _ = soaked(RARE, PLAIN, soaks=3)
    cause = stood[-1][RARE.entry].cause
    tried = {one["variation"]: (one["differs"], one["builds"]) for one in cause["evidence"]}
    assert cause["kind"] == "hash-seed", tried
    differs, builds = tried["hash-seed"]
    assert differs == builds > 1
    assert tried["process"][0] == tried["order"][0] == 0
