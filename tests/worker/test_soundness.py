"""What would make a comparison worthless: answers from caches, old code, constants that nobody looks at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pcvd.core.model import TargetSpec


def digests(build, *stages):
    return [build.artifact(stage).canonical for stage in stages]


def output(workshop, build):
    part = build.artifact("output").parts[0]
    return np.frombuffer(workshop.blobs.get(part.raw), part.label.partition("[")[0]).tolist()


def test_constants_that_differ_in_value_only_are_seen(workshop):
    workshop.write(
        "constants.py",
        """
        import jax, jax.numpy as jnp, numpy as np
        FIRST = np.arange(64, dtype=np.float32)
        SECOND = FIRST.copy()
        SECOND[40] += 1e-3

        def first(x):
            return x + FIRST

        def second(x):
            return x + SECOND

        first.__name__ = second.__name__ = "same"
        """,
    )
    one, other = workshop.built(
        *(TargetSpec(f"constants.py:{name}", ("f32[64]",)) for name in ("first", "second"))
    )
    for stage in ("jaxpr", "stablehlo", "hlo", "output"):
        assert one.artifact(stage).canonical != other.artifact(stage).canonical, stage
    parts, others = (build.artifact("jaxpr").parts for build in (one, other))
    assert [(part.name, part.label) for part in parts] == [
        ("constant_0000", "float32[64]"),
        ("jaxpr.txt", ""),
        ("signature.txt", ""),
    ]
    # The jaxpr's text is blind to them: only the part that holds the constant's bytes tells.
    assert parts[1:] == others[1:]
    assert parts[0].canonical != others[0].canonical


def test_no_rule_for_texts_touches_the_bytes_of_constants(workshop):
    workshop.write(
        "textual.py",
        """
        import jax.numpy as jnp, numpy as np

        def of(text):
            data = np.frombuffer(text.ljust(32), np.uint8)
            return lambda x: x + jnp.asarray(data)

        first, second = of(b"<f at 0x7f0000000001>"), of(b"<f at 0x7f0000000002>")
        """,
    )
    one, other = workshop.built(
        *(TargetSpec(f"textual.py:{name}", ("f32[32]",)) for name in ("first", "second"))
    )
    assert one.artifact("jaxpr").canonical != other.artifact("jaxpr").canonical
    assert [part.rules for part in one.artifact("jaxpr").parts] == [(), (), ()]


def test_a_run_that_differs_only_at_the_third_time_is_seen(workshop):
    workshop.write(
        "third.py",
        """
        import jax, jax.numpy as jnp, numpy as np
        CALLS = []

        def host(x):
            CALLS.append(1)
            return np.asarray(x) * (2 if len(CALLS) == 3 else 1)

        def model(x):
            return jax.pure_callback(host, jax.ShapeDtypeStruct((2,), jnp.float32), x)
        """,
    )
    (build,) = workshop.built(TargetSpec("third.py:model", ("f32[2]",)))
    assert build.repeats is False


def test_donated_arguments_last_for_every_run(workshop):
    workshop.write(
        "given.py",
        """
        import functools, jax

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def model(x, key):
            return x + 1, jax.random.split(key), x * 2
        """,
    )
    (build,) = workshop.built(TargetSpec("given.py:model", ("f32[4]", "key[]")))
    assert build.repeats is True
    assert {part.label for part in build.artifact("output").parts} == {"float32[4]", "key<fry>[2]"}


def test_constants_inside_loops_and_inner_functions_are_seen(workshop):
    workshop.write(
        "inner_constants.py",
        """
        import jax, numpy as np
        BASE = np.arange(32, dtype=np.float32)

        def of(table):
            table = jax.numpy.asarray(table)

            @jax.jit
            def inner(x):
                return x * table

            def same(x):
                return jax.lax.scan(lambda carry, _: (inner(carry), None), x, None, length=2)[0]

            return same

        first, second = of(BASE), of(BASE + 1)
        """,
    )
    one, other = workshop.built(
        *(TargetSpec(f"inner_constants.py:{name}", ("f32[32]",)) for name in ("first", "second"))
    )
    assert one.artifact("jaxpr").canonical != other.artifact("jaxpr").canonical
    assert any(part.label == "float32[32]" for part in one.artifact("jaxpr").parts)


def test_a_compilation_cache_that_the_model_switches_on_feeds_no_build(workshop, tmp_path):
    workshop.write(
        "cached.py",
        f"""
        import jax
        jax.config.update("jax_compilation_cache_dir", {str(tmp_path)!r})
        jax.config.update("jax_enable_compilation_cache", True)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

        def model(x):
            return x * 2
        """,
    )
    for _ in range(2):
        (build,) = workshop.built(TargetSpec("cached.py:model", ("f32[4]",)))
        assert build.artifact("object").parts  # the compiler itself was here
    assert list(tmp_path.iterdir()) == []


def test_nor_do_kernels_that_a_model_links_while_it_is_imported_come_from_one(open_workshop):
    text = """
        import jax.numpy as jnp
        import pcv

        linked = pcv.compile_kernels(lambda x: jnp.tanh(x @ x) @ x, jnp.ones((4, 4)), policy="ops")
        held = linked(jnp.ones((4, 4)))
        assert linked.report.cached == 0

        def model(x):
            return x * held
        """
    with open_workshop() as alone:
        alone.write("linked.py", text)
        for _ in range(2):
            alone.built(TargetSpec("linked.py:model", ("f32[4,4]",)))
        assert not alone.path(".pcv", "kernels").exists()


def test_an_edit_of_the_same_size_within_the_same_second_is_seen(workshop):
    text = "def model(x):\n    return x + {}\n"
    path = workshop.write("quick.py", text.format("0.1"))
    before = path.stat()
    (first,) = workshop.built(TargetSpec("quick.py:model", ("f32[1]",)))
    workshop.write("quick.py", text.format("0.2"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (second,) = workshop.built(TargetSpec("quick.py:model", ("f32[1]",)))
    assert output(workshop, second)[0] - output(workshop, first)[0] > 0.09
    assert not list(Path(workshop.root).rglob("quick.*.pyc"))


def test_old_byte_code_is_never_taken(workshop):
    # A .pyc with the source's own time and size is what Python would trust without a look.
    import py_compile

    path = workshop.write("stale.py", "def model(x):\n    return x + 1\n")
    before = path.stat()
    cached = Path(py_compile.compile(str(path), doraise=True))
    workshop.write("stale.py", "def model(x):\n    return x + 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        (build,) = workshop.built(TargetSpec("stale.py:model", ("f32[2]",)))
        assert b"2.0" in workshop.text(build, "jaxpr")
    finally:
        cached.unlink()


def test_configuration_that_pool_threads_lose_shows_in_the_jaxpr(workshop):
    workshop.write(
        "wide.py",
        """
        import jax, jax.numpy as jnp
        jax.enable_x64(True).__enter__()  # of this thread only

        def model(x):
            return x * jnp.linspace(0.0, 1.0, 4)
        """,
    )
    spec = TargetSpec("wide.py:model", ("f32[4]",))
    outcome = workshop.hold(spec, schedules=("serial", "threads:2", "processes:2"))
    (judgement,) = outcome.record.judgements
    assert (judgement.verdict, judgement.first_stage) == ("diverged", "jaxpr")
    runs = {run.schedule: run for run in outcome.record.runs}
    assert list(runs) == ["serial", "threads:2", "processes:2", "control"]
    assert judgement.stages["jaxpr"]["control"] == judgement.stages["jaxpr"]["serial"]
    assert judgement.stages["jaxpr"]["threads:2"] != judgement.stages["jaxpr"]["serial"]
    assert judgement.output["bitwise"] is False


def test_workers_share_neither_hash_seed_nor_random_state(workshop):
    workshop.write(
        "dice.py",
        """
        import os, random, numpy as np

        def arguments():
            drawn = [np.random.randint(2**31), random.getrandbits(31)]
            return (np.array([os.getpid(), hash("pcv") % 2**31, *drawn]),)

        def model(x):
            return x
        """,
    )
    spec = TargetSpec("dice.py:model", "dice.py:arguments")
    drawn = [
        output(workshop, workshop.built(spec, schedule=schedule)[0])
        for schedule in ("serial", "control", "control")
    ]
    pids, hashes, numpys, pythons = (list(column) for column in zip(*drawn, strict=True))
    assert len(set(pids)) == len(set(numpys)) == len(set(pythons)) == 3
    assert hashes[0] != hashes[1] == hashes[2]


def test_a_job_leaves_nothing_to_the_next_one(workshop):
    workshop.write(
        "lasting.py", "import os, sys\nsys.left = True\nos.environ['LEFT'] = '1'\ndef model(x): return x\n"
    )
    workshop.write(
        "looking.py",
        """
        import os, sys
        import jax.numpy as jnp
        SEEN = float(hasattr(sys, "left") or "LEFT" in os.environ or "lasting" in sys.modules)

        def model(x):
            return x * 0 + SEEN
        """,
    )
    workshop.built(TargetSpec("lasting.py:model", ("f32[1]",)))
    (build,) = workshop.built(TargetSpec("looking.py:model", ("f32[1]",)))
    assert output(workshop, build) == [0.0]


def test_the_environment_says_what_builds_depend_on(workshop):
    workshop.write("small.py", "def model(x):\n    return x\n")
    run = workshop.build(TargetSpec("small.py:model", ("f32[1]",))).run
    (environment,) = run.environments
    assert environment["platform"] == "cpu"
    assert environment["affinity"] == sorted(os.sched_getaffinity(0)) == list(run.affinity)
    assert environment["variables"]["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert {"jax", "jaxlib", "numpy", "python", "cores", "devices", "config", "processor"} <= set(environment)


def test_pcv_can_be_imported_and_its_dependencies_cannot_hide_a_projects_own(workshop):
    # pcv's own modules (worker/inputs.py among them) must not take the place of a project's.
    workshop.write("inputs.py", "SCALE = 3.0\n")
    workshop.write("outputs.py", "import inputs, pcv\ndef model(x):\n    return x * inputs.SCALE\n")
    (build,) = workshop.built(TargetSpec("outputs.py:model", ("f32[2]",)))
    assert b"3.0" in workshop.text(build, "jaxpr")
    for name in ("inputs.py", "outputs.py"):
        workshop.path(name).unlink()
