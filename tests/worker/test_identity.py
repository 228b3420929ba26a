"""Names of functions and signatures: equal wherever they are taken, and different for what does otherwise."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pcvd.core.model import TargetSpec
from pcvd.worker import identity

# Whatever a name is made of: texts in hash order, code within code, defaults, captured values of all kinds.
SOURCE = """
import functools
import jax.numpy as jnp
import numpy as np

def near(x):
    if x in {"alpha", "beta", "gamma", "delta"}:
        return [y for y in x if y not in {"epsilon", "zeta"}]
    try:
        return x.name
    except (KeyError, AttributeError):
        return lambda z, *, k=frozenset({"eta", "theta", "iota"}): (z, k)

def made(scale, table):
    inner = lambda x: x * scale + table
    names = frozenset(["one", "two", "three"])
    return lambda x, y=2: inner(x) if y in names else near(x)

class Rows:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x

    def pick(self, x):
        return x[self.n]

FUNCTIONS = [
    near, made(2.0, np.arange(3)), made(3.0, jnp.ones(2)), functools.partial(near, x=1),
    Rows(1), Rows(1).pick, Rows, np.sin, jnp.sin, len, "a".join, max,
]
"""


def names(source, seed):
    """The names of a source's FUNCTIONS, taken in a process of its own."""
    code = f"""
        from pcvd.worker import identity
        space = {{"__name__": "model"}}
        exec(compile({source!r}, {f"/nowhere/{seed}.py"!r}, "exec"), space)
        for one in space["FUNCTIONS"]:
            print(identity.of(one))
    """
    env = {**os.environ, "PYTHONHASHSEED": str(seed), "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_names_are_the_same_in_every_process_and_wherever_the_code_stands():
    first = names(SOURCE, 1)
    assert len(set(first)) == len(first) == 12
    assert first[0].startswith("model.near#")
    assert names(SOURCE, 2) == first
    moved = "# a comment\n" * 70 + SOURCE.replace("\n\n", "\n\n\n  \n").replace("+ table", "+   table")
    assert names(moved, 3) == first


def function(text, **captured):
    """The function that `text` says, with captured variables: `lambda x: x + k`."""
    space = {"np": np, "__name__": "model"}
    held = ", ".join(captured)
    exec(f"def outer({held}):\n    f = {text}\n    f.__qualname__ = 'f'\n    return f", space)
    return space["outer"](*captured.values())


def plain(does):
    return function(f"lambda x: {does}")


def capturing(value):
    return function("lambda x: x + k", k=value)


DIFFERENT = {
    "constant": lambda: (plain("x + 1"), plain("x + 2")),
    "type of a constant": lambda: (plain("x + 1"), plain("x + 1.0")),
    "flag for a number": lambda: (plain("x + 1"), plain("x + True")),
    "sign of zero": lambda: (plain("x * 0.0"), plain("x * -0.0")),
    "operation": lambda: (plain("x + x"), plain("x - x")),
    "attribute": lambda: (plain("x.sin"), plain("x.cos")),
    "global": lambda: (plain("np(x)"), plain("len(x)")),
    "set of constants": lambda: (plain("x in {1, 2}"), plain("x in {1, 3}")),
    "code within": lambda: (plain("lambda: x + 1"), plain("lambda: x + 2")),
    "parameters": lambda: (function("lambda x, y: x"), function("lambda x, *y: x")),
    "default": lambda: (function("lambda x, y=1: x"), function("lambda x, y=2: x")),
    "default by keyword": lambda: (function("lambda x, *, y=1: x"), function("lambda x, *, y=2: x")),
    "captured number": lambda: (capturing(1.0), capturing(2.0)),
    "captured text": lambda: (capturing("a"), capturing("b")),
    "captured tuple": lambda: (capturing((1, (2,))), capturing((1, (3,)))),
    "captured array": lambda: (capturing(jnp.arange(3)), capturing(jnp.arange(3).at[1].set(9))),
    "captured table": lambda: (capturing(np.ones(3)), capturing(np.zeros(3))),
    "captured key": lambda: (capturing(jax.random.key(0)), capturing(jax.random.key(1))),
    "captured function": lambda: (capturing(plain("x")), capturing(plain("-x"))),
    "shape of an array": lambda: (capturing(np.ones(2)), capturing(np.ones((2, 1)))),
    "type of an array": lambda: (capturing(np.zeros(1, "f4")), capturing(np.zeros(1, "i4"))),
    "argument of a partial": lambda: (functools.partial(max, 1), functools.partial(max, 2)),
    "keyword of a partial": lambda: (functools.partial(max, key=len), functools.partial(max, key=abs)),
    "jitted": lambda: (jax.jit(plain("x + 1")), jax.jit(plain("x + 2"))),
    "jitted or not": lambda: (jax.jit(plain("x + 1")), plain("x + 1")),
    "ufunc": lambda: (np.sin, np.cos),
    "text that looks like an address": lambda: ("f at 0x7f0000000001>", "f at 0x7f0000000002>"),
    "name of a class": lambda: (type("A", (), {}), type("B", (), {})),
    "pytree": lambda: (jax.tree.structure((1, [2])), jax.tree.structure([1, (2,)])),
    "nothing in a pytree": lambda: (jax.tree.structure((1, None)), jax.tree.structure((1, ()))),
    "keys of a pytree": lambda: (jax.tree.structure({"a": 1}), jax.tree.structure({"b": 1})),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_does_otherwise_has_another_name(what):
    one, other = (identity.of(value) for value in DIFFERENT[what]())
    assert one != other
    assert [one, other] == [
        identity.of(value) for value in DIFFERENT[what]()
    ]  # other objects, the same names


class Opaque:
    def __init__(self, value):
        self.value = value


class Touchy:
    def __getattr__(self, name):
        raise RuntimeError("hands off")

    def __repr__(self):
        raise RuntimeError("hands off")


def counting():
    count = 0

    def count_up(x):
        nonlocal count
        count += 1
        return x

    return count_up


def test_what_a_function_changes_is_no_part_of_it():
    log, table = [], {}
    keeps = function("lambda x: log.append(table)", log=log, table=table)
    before = identity.of(keeps)
    log.append(1)
    table["a"] = 1
    assert identity.of(keeps) == before
    counts = counting()
    before = identity.of(counts)
    counts(1)
    assert identity.of(counts) == before


@pytest.mark.parametrize(
    "made",
    [
        Opaque,
        lambda _: itertools.count(),
        lambda _: Touchy(),
        lambda _: object(),
        lambda n: {n},
        lambda n: [n],
    ],
)
def test_what_is_not_known_goes_by_its_type(made):
    assert identity.of(function("lambda x: k", k=made(1))) == identity.of(function("lambda x: k", k=made(2)))


def test_static_data_of_a_pytree_is_looked_into():
    @functools.partial(
        jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["activation", "sizes"]
    )
    @dataclasses.dataclass
    class Layer:
        weights: object
        activation: object
        sizes: object

    def tree(activation, sizes):
        return jax.tree.structure(Layer(1.0, activation, sizes))

    one = identity.of(tree(function("lambda x: x"), [1, {"a": 2}]))
    assert " at 0x" not in one
    assert one == identity.of(tree(function("lambda x: x"), [1, {"a": 2}]))
    assert one != identity.of(tree(function("lambda x: -x"), [1, {"a": 2}]))
    assert one != identity.of(tree(function("lambda x: x"), [1, {"a": 3}]))


def test_cycles_and_depths_end():
    def calls_itself(x):
        return calls_itself(x)

    assert "calls_itself#" in identity.of(calls_itself)
    ring = []
    ring.append(ring)
    assert identity.of(ring) == "list(list …)"
    deep = ()
    for _ in range(5000):
        deep = (deep,)
    assert identity.of(deep) == identity.of((deep,))  # beyond what is looked into
    wide = identity.of([[n] for n in range(50_000)])
    assert wide.endswith("list …)")


def test_what_can_not_be_read_goes_by_its_type():
    gone = jnp.ones(3)
    gone.delete()
    assert identity.of(gone).endswith("ArrayImpl")

    def early():
        return late

    assert "early#" in identity.of(early)  # its cell is empty as yet
    seen = []
    jax.make_jaxpr(lambda x: seen.append(identity.of(x)) or x)(1.0)
    assert seen[0].endswith("Tracer")
    late = None
    assert late is None


# -- in builds -------------------------------------------------------------------------------------

CALLBACKS = """
    import functools
    import jax, jax.numpy as jnp, numpy as np
    from jax.ad_checkpoint import checkpoint_name
    from jax.experimental import io_callback

    SAME = jax.ShapeDtypeStruct((4,), jnp.float32)

    def double(x):
        return np.asarray(x) * 2

    def triple(x):
        return np.asarray(x) * 3

    def scaled(scale):
        return lambda x: np.asarray(x) * scale

    def program(first, second):
        def calls(x):
            y = jax.pure_callback(first, SAME, x)
            z = io_callback(second, SAME, x, ordered=True)
            return y - z
        return calls

    straight, swapped, again = program(double, triple), program(triple, double), program(double, triple)
    one, other = program(scaled(2.0), double), program(scaled(3.0), double)

    def debugged(tag, shown):
        def calls(x):
            jax.debug.callback(shown, x, tag)
            return x
        return calls

    tagged, retagged = debugged("a", lambda x, tag: None), debugged("b", lambda x, tag: None)
    shown = debugged("a", lambda x, tag: print(x))

    def says(text):
        def calls(x):
            jax.debug.print(text + "{}", x)
            return x
        return calls

    # JAX masks what looks like an address in its own text of a program, and pcv orders what looks like a set.
    low, high = says("at 0x7f0000000001> "), says("at 0x7f0000000002> ")
    ahead, behind = says("frozenset({{'a', 'b'}})"), says("frozenset({{'b', 'a'}})")

    def saving(*names):
        policy = jax.checkpoint_policies.save_only_these_names(*names)
        def calls(x):
            def within(y):
                for name in "abcdefgh":
                    y = checkpoint_name(jnp.sin(y), name)
                return y.sum()
            return jax.grad(jax.checkpoint(within, policy=policy))(x)
        return calls

    saves = saving("a", "b", "c", "d", "e", "f", "g")

    def counted():
        count, log = 0, []
        def host(x):
            nonlocal count
            count += 1
            log.append(count)
            return np.asarray(x) * 2
        return program(host, host)

    stateful = counted()
"""
CALLED = [
    "straight",
    "swapped",
    "again",
    "one",
    "other",
    "tagged",
    "retagged",
    "shown",
    "low",
    "high",
    "ahead",
    "behind",
    "saves",
    "stateful",
]


@pytest.fixture(scope="module")
def called(workshop):
    """The specs of programs with callbacks."""
    workshop.write("callbacks.py", CALLBACKS)
    return {name: TargetSpec(f"callbacks.py:{name}", ("f32[4]",)) for name in CALLED}


@pytest.fixture(scope="module")
def jaxprs(workshop, called):
    """Their jaxprs' canonical digests."""
    builds = workshop.built(*called.values())
    return {name: build.artifact("jaxpr").canonical for name, build in zip(called, builds, strict=True)}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("straight", "swapped"),
        ("one", "other"),
        ("tagged", "retagged"),
        ("tagged", "shown"),
        ("low", "high"),
        ("ahead", "behind"),
    ],
)
def test_another_callback_is_another_program(jaxprs, left, right):
    assert jaxprs[left] != jaxprs[right]


def test_the_same_callbacks_are_the_same_program(jaxprs):
    assert jaxprs["straight"] == jaxprs["again"]


def test_callbacks_agree_between_processes_and_seeds_and_after_they_ran(workshop, called):
    # Four threads build copies, and a copy is looked at after the one before it ran: a callback that counts
    # has counted by then.
    schedules = ("serial", "threads:4", "processes:2", "control")
    outcome = workshop.hold(
        *(called[name] for name in ("straight", "saves", "stateful")), schedules=schedules
    )
    for judgement in outcome.record.judgements:
        assert (judgement.verdict, judgement.reason) == ("agree", None)
    runs = outcome.record.runs
    assert len({run.hash_seed for run in runs}) == 2


SIGNATURES = """
    import dataclasses, functools
    import jax, jax.numpy as jnp

    def a_tuple(x): return x, x
    def a_list(x): return [x, x]
    def a_dict(x): return {"a": x, "b": x}
    def more(x): return x, None, x

    def weak(x): return x, jax.lax.full((), 2.0)
    def strong(x): return x, jnp.float32(2.0)

    @functools.partial(jax.jit, donate_argnums=0)
    def donating(x): return x, x

    @functools.partial(jax.tree_util.register_dataclass, data_fields=["x"], meta_fields=["f"])
    @dataclasses.dataclass
    class Held:
        x: object
        f: object

    def holds(f):
        return lambda x: Held(x, f)

    sine, cosine = holds(lambda x: jnp.sin(x)), holds(lambda x: jnp.cos(x))
    again = holds(lambda x: jnp.sin(x))

    for one in (a_tuple, a_list, a_dict, more, weak, strong, sine, cosine, again):
        one.__name__ = "same"
"""
SIGNED = ["a_tuple", "a_list", "a_dict", "more", "weak", "strong", "donating", "sine", "cosine", "again"]


@pytest.fixture(scope="module")
def signed(workshop):
    """Builds of programs that differ in their signature only."""
    workshop.write("signatures.py", SIGNATURES)
    specs = [TargetSpec(f"signatures.py:{name}", ("f32[4]",)) for name in SIGNED]
    return dict(zip(SIGNED, workshop.built(*specs), strict=True))


def part(workshop, build, name):
    (found,) = [one for one in build.artifact("jaxpr").parts if one.name == name]
    return workshop.blobs.get(found.canonical).decode()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a_tuple", "a_list"),
        ("a_tuple", "a_dict"),
        ("a_tuple", "more"),
        ("a_tuple", "donating"),
        ("sine", "cosine"),
    ],
)
def test_another_signature_is_another_program(workshop, signed, left, right):
    assert part(workshop, signed[left], "jaxpr.txt") == part(workshop, signed[right], "jaxpr.txt")
    assert signed[left].artifact("jaxpr").canonical != signed[right].artifact("jaxpr").canonical


def test_weak_types_of_results_are_told(workshop, signed):
    weak, strong = (part(workshop, signed[name], "signature.txt") for name in ("weak", "strong"))
    assert "1 float32[] weak\n" in weak
    assert "weak" not in strong
    results = [signed[name].artifact("output").parts[1] for name in ("weak", "strong")]
    assert results[0] == results[1]  # nothing else of the result tells


def test_donation_is_told(workshop, signed):
    assert "donated [0]\n" in part(workshop, signed["donating"], "signature.txt")
    assert "donated []\n" in part(workshop, signed["a_tuple"], "signature.txt")


def test_the_same_signature_is_the_same(signed):
    assert signed["sine"].artifact("jaxpr").canonical == signed["again"].artifact("jaxpr").canonical


SCALED = """
    import jax, numpy as np

    class Scale:
        def __init__(self, factor):
            self.factor = factor
        def apply(self, x):
            return np.asarray(x) * self.factor

    def through(host):
        return lambda x: jax.pure_callback(host, x, x)

    def plain(x):
        return through(lambda y: np.asarray(y) * 2)(x)

    def held(x):
        return through(Scale(2).apply)(x)

    def relu(x):
        return jax.nn.relu(x)
"""


def test_what_is_named_by_its_type_alone_is_counted(workshop):
    workshop.write("scaled.py", SCALED)
    specs = [TargetSpec(f"scaled.py:{name}", ("f32[4]",)) for name in ("plain", "held", "relu")]
    outcome = workshop.hold(*specs, schedules=("serial", "threads:2"))
    counted = {one.target: one.evidence["named_by_type"] for one in outcome.record.judgements}
    assert counted == {"scaled.py:plain": 0, "scaled.py:held": 1, "scaled.py:relu": 0}
    assert {one.verdict for one in outcome.record.judgements} == {"agree"}
