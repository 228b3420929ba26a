"""Investigations with real workers: the cause that is named, and the place that is found."""

from __future__ import annotations

import pytest

from pcvd.core.model import TargetSpec
from pcvd.core.schedule import is_schedule
from pcvd.core.variation import named
from pcvd.investigation import Investigation

X = ("f32[4,4]",)
SCHEDULES = ("serial", "threads:2", "processes:2")

MODELS = {
    "plain.py": """
        import jax.numpy as jnp

        def other(x):
            return jnp.cos(x) + 1
        """,
    "thread.py": """
        import jax

        MODE = jax.enable_x64(True)
        MODE.__enter__()

        def model(x):
            y = x + 1
            return y.astype("float64") * 2
        """,
    "seed.py": """
        import jax.numpy as jnp

        def model(x):
            for name in {"alpha", "beta", "gamma", "delta", "epsilon"}:
                x = x * len(name) + 1
            return x
        """,
    "noise.py": """
        import jax.numpy as jnp
        import numpy as np

        def model(x):
            noise = np.random.rand(4, 4).astype("float32")
            shifted = x + 1
            return shifted * noise
        """,
    "itself.py": """
        import itertools

        COUNTER = itertools.count(1)

        def model(x):
            return x * next(COUNTER)
        """,
    "hosted.py": """
        import jax, numpy as np

        def model(x):
            y = jax.pure_callback(lambda z: np.asarray(z) + 1, x, x)
            for name in {"alpha", "beta", "gamma", "delta", "epsilon"}:
                y = y * len(name) + 1
            return y
        """,
    "order.py": """
        import itertools

        COUNTER = itertools.count(1)

        def first(x):
            return x * next(COUNTER)

        def second(x):
            return x - next(COUNTER)
        """,
}


@pytest.fixture(scope="module")
def explained(workshop):
    """What an investigation says of the differing targets of one round over `entries`."""
    for file, text in MODELS.items():
        workshop.write(file, text)

    def explain(*entries, schedules=SCHEDULES):
        cohort = [TargetSpec(entry, X) for entry in entries]
        record = workshop.hold(*cohort, schedules=schedules).record
        differing = [one for one in record.judgements if one.differing]
        assert differing, [one.reason for one in record.judgements]
        investigation = Investigation(workshop.pool, workshop.blobs, workshop.root, cohort, record.runs)
        return workshop.call(investigation.explain(differing))

    return explain


def line_of(file, text):
    lines = MODELS[file].splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def evidence(cause):
    return {one["variation"]: (one["differs"], one["builds"]) for one in cause["evidence"]}


@pytest.mark.parametrize(
    ("file", "kind", "line"),
    [
        ("thread.py", "thread", "astype"),
        ("seed.py", "hash-seed", "x = x * len"),
        ("hosted.py", "hash-seed", "y = y * len"),
        ("noise.py", "random", "shifted * noise"),
    ],
)
def test_what_a_traced_difference_comes_from_and_its_line(explained, file, kind, line):
    found = explained(f"{file}:model", "plain.py:other")
    (cause,) = found.causes.values()
    assert cause["kind"] == kind, cause
    assert (cause["file"], cause["line"]) == (file, line_of(file, line)), cause
    assert cause["pass"] is cause["workaround"] is None
    assert cause["hint"]
    tried = evidence(cause)
    assert tried["process"][0] == (tried["process"][1] if kind == "random" else 0)
    # What is named before it was tried, and once one flips every build, nothing that would be named after it.
    assert ("thread" in {run.schedule for run in found.runs}) == (kind == "thread")
    assert ("memory-layout" in {run.schedule for run in found.runs}) == (kind != "random")
    assert {run.schedule for run in found.runs} >= {"process", "order"}
    assert not any(is_schedule(run.schedule) for run in found.runs)


def test_state_that_outlives_a_trace_shows_by_order(explained):
    # Alone in its process, `second` is surely first; `first` may win its race against `second` in a thread.
    cause = explained("order.py:first", "order.py:second").causes["order.py:second"]
    assert cause["kind"] == "order", cause
    assert (cause["file"], cause["line"]) == ("order.py", line_of("order.py", "x - next"))


def test_what_its_own_trace_leaves_behind_shows_after_itself(explained):
    # Alone under two threads, it is built twice in one process.
    cause = explained("itself.py:model", schedules=("serial", "threads:2")).causes["itself.py:model"]
    assert cause["kind"] == "after-itself", cause
    assert (cause["file"], cause["line"]) == ("itself.py", line_of("itself.py", "x * next"))


def test_variations_can_be_tried_on_what_agrees(workshop):
    workshop.write(
        "wide.py", "import jax.numpy as jnp\n\ndef model(x):\n    return jnp.sum(jnp.sin(x) @ x.T, axis=0)\n"
    )
    cohort = [TargetSpec("wide.py:model", ("f32[512,512]",))]
    runs = workshop.hold(*cohort, schedules=("serial", "threads:2")).record.runs
    investigation = Investigation(workshop.pool, workshop.blobs, workshop.root, cohort, runs)
    found = workshop.call(investigation.vary(["wide.py:model"], named(["affinity", "directory", "process"])))
    told = {one["variation"]: one for one in found.causes["wide.py:model"]["evidence"]}
    assert (told["process"]["differs"], told["directory"]["differs"]) == (0, 0)
    # How many parts a loop is cut into stands in the optimized HLO of jax 0.10; later on, only in what runs.
    assert told["affinity"]["differs"] == told["affinity"]["builds"] == 2
    assert told["affinity"]["first_stage"] in {"hlo", "executable"}
