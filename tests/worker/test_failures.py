"""Whatever a project does wrong: one sentence with file and line, and a pool that goes on."""

from __future__ import annotations

import os
import signal

import pytest

from pcvd.core.model import TargetSpec

GOOD = """
    import jax.numpy as jnp

    def model(x):
        return jnp.sin(x)

    class Holder:
        number = 3
"""


@pytest.fixture(scope="module")
def shop(workshop):
    workshop.write("fail/good.py", GOOD)
    return workshop


@pytest.fixture(scope="module")
def tight(open_workshop):
    """A pool that has little patience and little memory to give."""
    with open_workshop(timeout_s=3.0, memory_mb=1500) as shop:
        shop.write("good.py", GOOD)
        yield shop


@pytest.fixture
def works(shop):
    """After a test the pool must still build."""
    yield shop
    shop.built(TargetSpec("fail/good.py:model", ("f32[4]",)))


X = ("f32[4]",)

# file text, args, kind, line, words of the message, words of the hint
FAULTS = {
    "syntax": ("def model(x):\n    return x +\n", X, "import", 2, "SyntaxError: ", ""),
    "indentation": ("def model(x):\nreturn x\n", X, "import", 2, "IndentationError: ", ""),
    "encoding": ("NAME = '\udcff'\ndef model(x):\n    return x\n", X, "import", None, "SyntaxError: ", ""),
    "raises": ("\nraise ValueError('no such weights')\n", X, "import", 2, "ValueError: no such weights", ""),
    "import": ("import jax\nimport nothing_like_it\n", X, "import", 2, "nothing_like_it", "paths"),
    "exits": ("import sys\n\nsys.exit('enough')\n", X, "import", 3, "SystemExit: enough", ""),
    "missing": ("def modle(x):\n    return x\n", X, "missing", None, "no 'model'", "did you mean 'modle'?"),
    "empty": ("", X, "missing", None, "no 'model'", "it defines nothing"),
    "uncallable": ("model = 3\n", X, "missing", None, "is int, not a function", ""),
    "trace": (
        "import jax.numpy as jnp\n\ndef model(x):\n    return x @ jnp.ones((3, 3))\n",
        X, "trace", 4, "dot", "",
    ),
    "concrete": ("def model(x):\n    if x[0] > 0:\n        return x\n", X, "trace", 2, "TracerBool", ""),
    "exits_in_trace": ("import sys\ndef model(x):\n    sys.exit(3)\n", X, "trace", 3, "SystemExit", ""),
    "interrupts": ("def model(x):\n    raise KeyboardInterrupt\n", X, "trace", 2, "KeyboardInterrupt", ""),
    "too_many": ("def model(x):\n    return x\n", (*X, *X), "arguments", None, "called with 2", "a shape"),
    "returns_text": ("def model(x):\n    return 'text'\n", X, "trace", None, "str", ""),
    "args_raise": (
        "def args():\n    raise OSError('no data')\ndef model(x):\n    return x\n",
        "args", "arguments", 2, "OSError: no data", "",
    ),
    "args_no_tuple": (
        "def args():\n    return 3.0\ndef model(x):\n    return x\n",
        "args", "arguments", None, "tuple", "(x,)",
    ),
    "args_need": (
        "def args(batch):\n    return (batch,)\ndef model(x):\n    return x\n",
        "args", "arguments", 1, "itself needs batch", "",
    ),
    "args_missing": (
        "def argz(): pass\ndef model(x):\n    return x\n", "args", "missing", None, "no 'args'", "argz"
    ),
    "shape": ("def model(x):\n    return x\n", ("f33[4]",), "arguments", None, "no dtype", '"f32[4]"?'),
    "wide": ("def model(x):\n    return x\n", ("f64[4]",), "arguments", None, "64 bits", "jax_enable_x64"),
    "nothing": ("def model(x):\n    return None\n", X, None, None, "", ""),
    "late_flags": (
        "import os\nos.environ['XLA_FLAGS'] = '--xla_some_flag=1'\ndef model(x):\n    return x\n",
        X, "setup", None, "XLA_FLAGS", "[env]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "nothing"])
def test_one_sentence_says_what_and_where(name, shop):
    text, args, kind, line, words, hint = FAULTS[name]
    file = f"fail/{name}.py"
    shop.write(file, "").write_bytes(text.encode("utf-8", "surrogateescape"))
    spec = TargetSpec(f"{file}:model", f"{file}:{args}" if isinstance(args, str) else args, "pcv.toml", 7)
    failure = shop.failure(spec)
    assert failure.kind == kind
    assert words in failure.message
    assert hint in (failure.hint or "")
    assert "\n" not in failure.sentence().strip().splitlines()[0]
    if line is not None:
        assert (failure.file, failure.line) == (file, line)
    else:
        assert failure.file in {file, "pcv.toml", None}


def test_the_pool_goes_on_after_them(works):
    """All of them in one cohort, beside a good one that is built."""
    specs = [
        TargetSpec(f"fail/{name}.py:model", args if isinstance(args, tuple) else f"fail/{name}.py:{args}")
        for name, (_, args, kind, *_) in FAULTS.items()
        if kind not in {None, "setup"}
    ]
    done = works.build(*specs, TargetSpec("fail/good.py:model", X))
    assert {build.target for build in done.run.builds if build.failure is None} == {"fail/good.py:model"}
    assert done.run.culprits == ()


def test_a_missing_file_is_named(works):
    failure = works.failure(TargetSpec("fail/nowhere.py:model", X))
    assert failure.kind == "missing"
    assert "there is no file fail/nowhere.py" in failure.message


def test_an_import_that_fails_in_another_module_is_shown_there(works):
    works.write("fail/inner.py", "X = 1\n\n1 / 0\n")
    works.write("fail/outer.py", "import jax\nfrom fail import inner\n\ndef model(x):\n    return x\n")
    failure = works.failure(TargetSpec("fail/outer.py:model", X))
    assert (failure.file, failure.line) == ("fail/inner.py", 3)
    assert "ZeroDivisionError" in failure.sentence()


def test_a_syntax_error_in_another_module_is_shown_there(works):
    works.write("fail/crooked.py", "X = 1\ndef (\n")
    works.write("fail/straight.py", "import fail.crooked\n\ndef model(x):\n    return x\n")
    failure = works.failure(TargetSpec("fail/straight.py:model", X))
    assert (failure.file, failure.line) == ("fail/crooked.py", 2)


def test_attributes_are_followed_into_classes(works):
    failure = works.failure(TargetSpec("fail/good.py:Holder.numbr", X))
    assert failure.kind == "missing"
    assert "did you mean 'number'?" in failure.hint


def test_a_name_that_python_cannot_import(works):
    works.write("fail/my-model.py", "def model(x):\n    return x\n")
    failure = works.failure(TargetSpec("fail/my-model.py:model", X))
    assert (failure.kind, failure.file) == ("import", "fail/my-model.py")
    assert '"my-model" is no name' in failure.message


def test_a_name_that_is_taken(works):
    path = works.write("json.py", "def model(x):\n    return x\n")
    try:
        failure = works.failure(TargetSpec("json.py:model", X))
    finally:
        path.unlink()
    assert failure.kind == "import"
    assert "importing json for json.py gave" in failure.message
    assert "rename the file" in failure.hint


def test_a_function_that_returns_nothing_is_no_evidence(works):
    works.write("fail/nothing.py", FAULTS["nothing"][0])
    outcome = works.hold(TargetSpec("fail/nothing.py:model", X), schedules=("serial", "threads:2"))
    (judgement,) = outcome.record.judgements
    assert judgement.verdict == "inconclusive"
    assert "returns no arrays" in judgement.reason


def test_a_failure_keeps_the_trace_for_whoever_wants_it(works):
    works.write("fail/deep.py", "def inner(x):\n    return x.no_such\n\ndef model(x):\n    return inner(x)\n")
    failure = works.failure(TargetSpec("fail/deep.py:model", X))
    assert (failure.file, failure.line) == ("fail/deep.py", 2)
    assert "in model" in failure.trace


def test_what_a_model_prints_disturbs_nobody(works):
    works.write(
        "fail/loud.py",
        """
        import os, sys
        print("{}" * 1000)
        os.write(1, b"raw\\n" * 1000)

        def model(x):
            print('{"did": "built"}', flush=True)
            sys.stderr.write("tracing\\n")
            os.close(1)
            return x
        """,
    )
    works.built(TargetSpec("fail/loud.py:model", X))


def test_a_model_that_closes_every_file_it_finds_is_the_culprit(works):
    works.write("fail/closing.py", "import os\ndef model(x):\n    os.closerange(3, 4096)\n    return x\n")
    run = works.build(TargetSpec("fail/closing.py:model", X)).run
    assert run.culprits == ("fail/closing.py:model",)


# -- ends of processes -----------------------------------------------------------------------------

DEATHS = {
    "exit": ("os._exit(5)", "exit status 5"),
    "abort": ("os.abort()", "SIGABRT"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "segfault": ("ctypes.string_at(0)", "SIGSEGV"),
}


@pytest.mark.parametrize("schedule", ["serial", "threads:2", "processes:2"])
@pytest.mark.parametrize("death", ["exit", "kill"])
def test_a_worker_that_dies_names_its_culprit(schedule, death, works):
    code, words = DEATHS[death]
    file = f"fail/dies_{death}.py"
    works.write(file, f"import ctypes, os, signal\ndef model(x):\n    {code}\n")
    run = works.build(TargetSpec(f"{file}:model", X), schedule=schedule).run
    assert run.culprits == (f"{file}:model",)
    (build,) = run.of(f"{file}:model")
    assert build.failure.kind == "crash"
    assert words in build.failure.message


@pytest.mark.parametrize("death", ["abort", "segfault"])
def test_a_crash_in_native_code_is_told_by_its_signal(death, works):
    code, words = DEATHS[death]
    works.write(
        "fail/native.py", f"import ctypes, os\nprint('last words', flush=True)\ndef model(x):\n    {code}\n"
    )
    failure = works.failure(TargetSpec("fail/native.py:model", X))
    assert failure.kind == "crash"
    assert words in failure.message
    assert "last words" in failure.trace


def test_dying_at_the_import_names_the_culprit(works):
    works.write("fail/dead_import.py", "import os\nos._exit(9)\n")
    run = works.build(TargetSpec("fail/good.py:model", X), TargetSpec("fail/dead_import.py:model", X)).run
    assert run.culprits == ("fail/dead_import.py:model",)


def test_dying_in_the_argument_function_names_the_culprit(works):
    works.write("fail/dead_args.py", "import os\ndef args():\n    os._exit(9)\ndef model(x):\n    return x\n")
    spec = TargetSpec("fail/dead_args.py:model", "fail/dead_args.py:args")
    run = works.build(TargetSpec("fail/good.py:model", X), spec).run
    assert run.culprits == (spec.entry,)


def test_a_round_with_a_culprit_builds_the_innocent_again(works):
    works.write("fail/dies_exit.py", "import os\ndef model(x):\n    os._exit(5)\n")
    outcome = works.hold(
        TargetSpec("fail/good.py:model", X), TargetSpec("fail/dies_exit.py:model", X),
        schedules=("serial", "threads:2"),
    )  # fmt: skip
    assert outcome.again == ("fail/good.py:model",)
    (judgement,) = outcome.record.judgements
    assert (judgement.target, judgement.verdict) == ("fail/dies_exit.py:model", "inconclusive")
    assert "exit status 5" in judgement.reason
    assert judgement.failure.kind == "crash"


def test_a_target_that_dies_in_a_challenger_only(works):
    works.write(
        "fail/dies_late.py",
        """
        import os, threading

        def model(x):
            if threading.current_thread() is not threading.main_thread():
                os._exit(6)
            return x
        """,
    )
    outcome = works.hold(
        TargetSpec("fail/dies_late.py:model", X), TargetSpec("fail/good.py:model", X),
        schedules=("serial", "threads:2"),
    )  # fmt: skip
    verdicts = {one.target: one.verdict for one in outcome.record.judgements}
    assert verdicts["fail/dies_late.py:model"] == "inconclusive"
    assert verdicts.get("fail/good.py:model") != "diverged"


def test_an_endless_trace_runs_into_its_deadline(tight):
    tight.write("endless.py", "def model(x):\n    while True:\n        pass\n")
    run = tight.build(TargetSpec("endless.py:model", X)).run
    assert run.culprits == ("endless.py:model",)
    assert run.builds[0].failure.kind == "deadline"
    assert "its deadline of 3 s" in run.builds[0].failure.message
    tight.built(TargetSpec("good.py:model", X))


def test_of_two_threads_the_endless_one_is_to_blame(tight):
    tight.write("endless.py", "def model(x):\n    while True:\n        pass\n")
    run = tight.build(
        TargetSpec("good.py:model", X), TargetSpec("endless.py:model", X), schedule="threads:2"
    ).run
    assert "endless.py:model" in run.culprits
    tight.built(TargetSpec("good.py:model", X))


def test_an_endless_import_runs_into_its_deadline(tight):
    tight.write("sleepy.py", "import time\nimport pcv\ntime.sleep(1000)\n")
    run = tight.build(TargetSpec("good.py:model", X), TargetSpec("sleepy.py:model", X)).run
    assert run.culprits == ("sleepy.py:model",)
    found = tight.discover("sleepy.py")
    assert found.targets == ()
    problem = found.problems["sleepy.py"]
    assert problem.file == "sleepy.py"
    assert "ran past 3 s" in problem.message


def test_memory_is_limited(tight):
    tight.write(
        "greedy.py",
        "import numpy as np\n\ndef model(x):\n    hoard = np.ones(3 << 30, np.uint8)\n    return hoard\n",
    )
    failure = tight.failure(TargetSpec("greedy.py:model", X))
    assert failure.kind == "memory"
    assert (failure.file, failure.line) == ("greedy.py", 4)
    assert "memory_mb" in failure.hint
    tight.built(TargetSpec("good.py:model", X))


def test_processes_that_a_model_starts_end_with_it(tight, eventually):
    import psutil

    tight.write(
        "parent.py",
        """
        import os, subprocess
        CHILD = subprocess.Popen(["sleep", "1000"])
        with open(os.path.join(os.path.dirname(__file__), "child.pid"), "w") as file:
            file.write(str(CHILD.pid))

        def model(x):
            return x
        """,
    )
    tight.built(TargetSpec("parent.py:model", X))
    pid = int(tight.path("child.pid").read_text())
    try:
        eventually(lambda: not psutil.pid_exists(pid), "a worker's own child ends", within=20)
    finally:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
