"""Every kind of function that can be a target, built under two schedules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pcvd.core.builds import REQUIRED_STAGES
from pcvd.core.model import TargetSpec


@pytest.fixture(scope="module")
def value(workshop, serially):
    """The first leaf of a target's outputs, as an array."""

    def read(function):
        part = serially[function].artifact("output").parts[0]
        return np.frombuffer(workshop.blobs.get(part.raw), part.label.partition("[")[0])

    return read


def test_all_of_them_build_with_every_stage(serially, concurrently):
    for builds in (serially, concurrently):
        assert {name: build.failure for name, build in builds.items() if build.failure} == {}
        for build in builds.values():
            present = {artifact.stage for artifact in build.artifacts if artifact.parts}
            assert present >= {*REQUIRED_STAGES, "jaxpr", "object", "executable", "locations"}
            assert build.repeats is True


def test_threads_build_the_same(serially, concurrently):
    for name, build in serially.items():
        for stage in ("jaxpr", "stablehlo", "hlo", "output"):
            assert concurrently[name].artifact(stage).canonical == build.artifact(stage).canonical, (
                name,
                stage,
            )
        assert concurrently[name].inputs == build.inputs


def test_serial_builds_on_the_thread_that_imported_the_model(serially, concurrently):
    assert {build.thread for build in serially.values()} == {"main"}
    assert {build.thread for build in concurrently.values()} == {f"pcv-build_{n}" for n in range(4)}
    assert len({build.worker for build in serially.values()}) == 1


def test_times_are_in_order_and_serial_builds_do_not_overlap(serially):
    ordered = sorted(serially.values(), key=lambda build: build.began_ns)
    for build in ordered:
        assert 0 < build.began_ns < build.lowered_ns < build.ended_ns
    for before, after in itertools.pairwise(ordered):
        assert before.ended_ns <= after.began_ns


@pytest.mark.parametrize("function", ["static_place", "static_name", "static_last", "partly"])
def test_static_arguments_are_kept(function, serially, workshop):
    assert "integer_pow[y=3]" in workshop.text(serially[function], "jaxpr").decode()


@pytest.mark.parametrize("function", ["static_place", "static_name", "static_last"])
def test_outputs_come_from_running_the_executable(function, value):
    assert value(function).tolist() == [0.0, 1.0, 8.0]


def test_ready_values_are_arguments_as_they_are(value):
    assert value("scaling").tolist() == [0.0, 2.0, 4.0]


def test_donation_is_kept(serially, workshop):
    assert b"input_output_alias={ {}: (0, {}, " in workshop.text(serially["donating"], "hlo")
    assert b"input_output_alias" not in workshop.text(serially["plain"], "hlo")


def test_methods_and_callable_objects_are_told_apart(serially, workshop):
    texts = {
        name: workshop.text(serially[name], "jaxpr").decode()
        for name in ("bound", "affine.apply", "affine", "Affine.shift", "Affine.double")
    }
    assert " add " in texts["bound"]
    assert texts["bound"] == texts["affine.apply"]
    assert " sub " in texts["affine"]
    assert "7.0" in texts["Affine.shift"]
    assert "2.0" in texts["Affine.double"]


def test_leaves_that_are_no_arrays_are_closed_over(serially, workshop):
    text = workshop.text(serially["with_layer"], "jaxpr").decode()
    assert "tanh" in text
    assert text.count("f32[4,4]") >= 1
    assert serially["with_layer"].artifact("output").parts[0].label == "float32[2,4]"


def test_keys_and_narrow_types_pass_through(serially):
    labels = [part.label for part in serially["low"].artifact("output").parts]
    assert labels == ["bfloat16[4]", "int32[]"]
    assert serially["keyed"].artifact("output").parts[0].label == "float32[4]"


def test_result_pytrees_are_named_by_their_paths(serially):
    parts = serially["of_structures"].artifact("output").parts
    assert [part.name for part in parts] == ["['pair'][0]", "['pair'][1]", "['sum']"]


def test_modules_are_named_after_the_function(serially, workshop):
    for function in ("plain", "jitted", "donating", "with_layer"):
        assert workshop.text(serially[function], "hlo").startswith(f"HloModule jit_{function}".encode())


def test_every_object_file_is_a_part_named_without_the_module_counter(serially):
    for name, build in serially.items():
        for part in build.artifact("object").parts:
            assert not part.name.startswith("module_"), (name, part.name)
            assert part.name.endswith(".o")
            assert part.size > 0


def test_digests_name_the_stored_bytes(serially, workshop):
    for build in serially.values():
        for artifact in build.artifacts:
            for part in artifact.parts:
                assert len(workshop.blobs.get(part.raw)) == part.size
                assert workshop.blobs.verify(part.canonical)


def test_two_compilations_of_one_program_agree_after_canonical_rules(serially, concurrently):
    # The serialized executable holds module ids, and object files in no order: its raw bytes differ.
    mine, theirs = (builds["plain"].artifact("executable") for builds in (serially, concurrently))
    assert mine.canonical == theirs.canonical
    assert mine.parts[0].rules != ()


def test_the_seed_decides_the_values(workshop, kinds, serially, open_workshop):
    again = workshop.built(kinds["plain"])[0]
    assert again.inputs == serially["plain"].inputs  # whatever else is in the cohort


def test_arguments_do_not_depend_on_the_order_of_the_cohort(workshop, kinds, serially):
    for build in workshop.built(kinds["two"], kinds["scaling"], kinds["plain"]):
        assert build.inputs == serially[build.target.partition(":")[2]].inputs


COUNTING = """
    import functools, os
    import jax, jax.numpy as jnp

    def traced(name):
        with open(os.path.join(os.path.dirname(__file__), "traces"), "a") as file:
            file.write(name + "\\n")

    def plain(x):
        traced("plain")
        return x + 1

    @jax.jit
    def jitted(x):
        traced("jitted")
        return x + 2

    @functools.partial(jax.jit, static_argnums=1)
    def static(x, n):
        traced("static")
        return x + n

    partly = functools.partial(static, n=2)

    class Model:
        def __call__(self, x):
            traced("model")
            return x + 3

        @functools.partial(jax.jit, static_argnums=0)
        def method(self, x):
            traced("method")
            return x + 4

    model = Model()
    bound = model.method

    def arguments():
        return jnp.arange(4.0), 3
"""


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("plain", ("f32[4]",)),
        ("jitted", ("f32[4]",)),
        ("static", "counting.py:arguments"),
        ("model", ("f32[4]",)),
    ],
)
def test_every_copy_is_traced_and_compiled_for_itself(function, args, workshop):
    workshop.write("counting.py", COUNTING)
    notes = workshop.write("traces", "")
    builds = workshop.built(TargetSpec(f"counting.py:{function}", args), schedule="threads:3")
    assert notes.read_text().split() == [function] * 3
    assert [build.copy for build in builds] == [0, 1, 2]
    assert len({build.artifact("executable").raw for build in builds}) == 3
    assert all(build.artifact("object").parts for build in builds)


@pytest.mark.parametrize("function", ["bound", "partly"])
def test_copies_of_what_wraps_a_jitted_function_are_traced_for_themselves(function, workshop):
    # JAX traces an inner jitted function once a process, whoever calls it.
    workshop.write("counting.py", COUNTING)
    notes = workshop.write("traces", "")
    workshop.built(TargetSpec(f"counting.py:{function}", ("f32[4]",)), schedule="threads:3")
    assert len(notes.read_text().split()) == 3


def test_copies_in_processes_have_workers_of_their_own(workshop, kinds):
    run = workshop.build(kinds["plain"], schedule="processes:2").run
    assert run.peak_in_flight == 2
    assert len({build.worker for build in run.builds}) == 2
    assert len(run.environments) == 2
