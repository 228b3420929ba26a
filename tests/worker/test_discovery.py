"""What model files declare in code."""

from __future__ import annotations

from pathlib import Path

from pcvd.core.model import TargetSpec


def test_declarations_come_in_order_with_their_places(workshop):
    workshop.write(
        "found.py",
        """
        import jax
        import pcv

        @pcv.target("f32[4]")
        def first(x):
            return x

        @pcv.target
        @jax.jit
        def second():
            return 1.0

        class Model:
            @staticmethod
            @pcv.target("f32[2]")
            def third(x):
                return x
        """,
    )
    found = workshop.discover("found.py")
    assert [(one.entry, one.args, one.file) for one in found.targets] == [
        ("found.py:first", None, "found.py"),
        ("found.py:second", None, "found.py"),
        ("found.py:Model.third", None, "found.py"),
    ]
    assert [one.line for one in found.targets] == sorted(one.line for one in found.targets)
    assert found.problems == {}
    assert workshop.built(*found.targets, schedule="threads:2")


def test_what_is_imported_is_declared_where_it_stands(workshop):
    workshop.write("found_inner.py", "import pcv\n@pcv.target('f32[2]')\ndef model(x): return x\n")
    workshop.write(
        "found_outer.py",
        "import pcv\nfrom found_inner import model\n@pcv.target('f32[2]')\ndef outer(x): return model(x)\n",
    )
    found = workshop.discover("found_outer.py", "found_inner.py")
    assert sorted(one.entry for one in found.targets) == ["found_inner.py:model", "found_outer.py:outer"]
    reads = {Path(read.name).name for read in found.reads["found_outer.py"]}
    assert {"found_outer.py", "found_inner.py"} <= reads


def test_a_broken_file_costs_the_others_nothing(workshop):
    workshop.write("found_broken.py", "import pcv\n# target\nraise RuntimeError('no')\n")
    workshop.write("found_exit.py", "import pcv, sys\n# target\nsys.exit()\n")
    workshop.write("found_good.py", "import pcv\n@pcv.target('f32[2]')\ndef model(x): return x\n")
    found = workshop.discover("found_broken.py", "found_exit.py", "found_missing.py", "found_good.py")
    assert [one.entry for one in found.targets] == ["found_good.py:model"]
    assert {asked: (one.file or asked, one.line) for asked, one in found.problems.items()} == {
        "found_broken.py": ("found_broken.py", 3),
        "found_exit.py": ("found_exit.py", 3),
        "found_missing.py": ("found_missing.py", None),
    }


def test_a_wrong_declaration_is_a_problem_with_its_line(workshop):
    workshop.write("found_wrong.py", "import pcv\n\n@pcv.target('f32[2')\ndef model(x):\n    return x\n")
    problem = workshop.discover("found_wrong.py").problems["found_wrong.py"]
    assert (problem.file, problem.line) == ("found_wrong.py", 3)
    assert "f32[2" in problem.message


def test_dying_at_the_import_is_a_problem(workshop):
    workshop.write("found_dead.py", "import pcv, os\n# target\nos._exit(3)\n")
    workshop.write("found_good.py", "import pcv\n@pcv.target('f32[2]')\ndef model(x): return x\n")
    found = workshop.discover("found_dead.py", "found_good.py")
    assert [one.entry for one in found.targets] == ["found_good.py:model"]
    (problem,) = found.problems.values()
    assert problem.file == "found_dead.py"
    assert "exit status 3" in problem.message


def test_a_fault_in_another_file_is_shown_there_and_told_of_who_was_asked(workshop):
    workshop.write("found_user.py", "import pcv\n# target\nimport found_fault\n")
    workshop.write("found_fault.py", "X = 1\nY = X / 0\n")
    problem = workshop.discover("found_user.py").problems["found_user.py"]
    assert (problem.file, problem.line) == ("found_fault.py", 2)


def test_arguments_in_code_may_be_anything(workshop):
    workshop.write(
        "found_args.py",
        """
        import jax, jax.numpy as jnp, numpy as np
        import pcv

        def both():
            return jnp.ones(2), jax.ShapeDtypeStruct((2,), jnp.float32)

        @pcv.target(args=both)
        def by_function(x, y): return x + y

        @pcv.target(args=(np.ones(2, np.float32), "f32[2]"))
        def by_values(x, y): return x + y

        @pcv.target(args="found_args.py:both")
        def by_entry(x, y): return x + y

        @pcv.target("found_args.py:one", "f32[2]")
        def by_strings(x, y): return x + y

        def one():
            return jnp.ones(2)
        """,
    )
    found = workshop.discover("found_args.py")
    assert len(workshop.built(*found.targets)) == 4


def test_settings_go_before_the_decorator(workshop):
    workshop.write("found_both.py", "import pcv\n@pcv.target('f32[2]')\ndef model(x): return x\n")
    (build,) = workshop.built(TargetSpec("found_both.py:model", ("f32[5]",)))
    assert build.artifact("output").parts[0].label == "float32[5]"
