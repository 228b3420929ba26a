"""The plan against a naive model of a project that is edited while it is built.

The model knows the truth: what every file holds, which targets exist, what each build read. The plan only
hears of it, and must never call a verdict fresh that is not, nor rest before everything has been judged.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pcvd.core.events import Asked, Declared, Discover, Ended, Event, Judged, Outdated, Saved, Validate
from pcvd.core.model import TargetSpec
from pcvd.core.plan import MOST_TOGETHER, MOST_TRIES, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMED = ("a.py:f", "a.py:g", "b.py:f", "c.py:f")  # by the settings
MODEL = "d.py"
DECORATED = ("d.py:f", "d.py:g")  # by decorators in the model file
TARGETS = (*NAMED, *DECORATED)
FILES = ("/p/a.py", "/p/b.py", "/p/c.py", "/p/d.py", "/p/x.py", "/p/y.py")
VERDICTS = ("agree", "equivalent", "diverged", "unstable", "inconclusive")
MOST_ROUNDS = 60  # far more than a plan for six targets needs to come to rest


class Project(RuleBasedStateMachine):
    """Edits, builds and verdicts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = Plan()
        self.numbers: Iterator[int] = itertools.count(1)
        self.contents = dict.fromkeys(FILES, 0)
        self.named: dict[str, int] = {}  # target to the version of its arguments
        self.decorated: tuple[str, ...] = ()
        self.crashing: frozenset[str] = frozenset()

        self.order: Discover | Validate | None = None
        self.outcome: list[Event] | None = None  # what the order came to, not told yet
        self.seen: dict[str, dict[str, str]] = {}  # per target under way, what its build found in its files
        self.verdict_reads: dict[str, dict[str, str]] = {}
        self.surely_stale: set[str] = set(TARGETS)
        self.perhaps_stale: set[str] = set(TARGETS)
        self.since_start: set[str] = set()  # what went perhaps stale since the order began
        self.surely_since_start: set[str] = set()
        self.changed_in_a_row = dict.fromkeys(TARGETS, 0)
        self.given_up: set[str] = set()

    # -- the truth ---------------------------------------------------------------------------------

    def reads(self, entry: str) -> dict[str, str]:
        """What a build of the target finds now: its own file, and helpers that the file's content selects."""
        own = f"/p/{entry.partition(':')[0]}"
        content = self.contents[own]
        paths = [own, *(["/p/x.py"] if content % 2 else []), *(["/p/y.py"] if content % 3 == 1 else [])]
        return {path: str(self.contents[path]) for path in paths}

    def existing(self) -> list[str]:
        return [spec.entry for spec in self.plan.targets]

    def touch(self, entry: str, *, surely: bool) -> None:
        self.perhaps_stale.add(entry)
        self.since_start.add(entry)
        self.given_up.discard(entry)
        if surely:
            self.surely_stale.add(entry)
            self.surely_since_start.add(entry)

    def tell(self, event: Event) -> None:
        for order in self.plan.handle(event):
            assert self.order is None, "two orders under way"
            self.order, self.outcome = order, None
            self.since_start, self.surely_since_start = set(), set()
            if isinstance(order, Validate):
                self.check(order)
                self.seen = {entry: self.reads(entry) for entry in order.cohort}

    def check(self, order: Validate) -> None:
        existing = self.existing()
        assert order.cohort
        assert order.why
        assert len(order.cohort) <= MOST_TOGETHER
        assert order.cohort == tuple(entry for entry in existing if entry in order.cohort)

    # -- what people do ----------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.tell(Saved({}, frozenset({MODEL})))

    @rule(names=st.sets(st.sampled_from(NAMED)))
    def name_in_settings(self, names: set[str]) -> None:
        for entry in NAMED:
            if (entry in names) != (entry in self.named):
                self.touch(entry, surely=True)
                self.verdict_reads.pop(entry, None)
        self.named = {entry: self.named.get(entry, 0) for entry in NAMED if entry in names}
        self.declare()

    @precondition(lambda self: self.named)
    @rule(data=st.data())
    def change_arguments(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(sorted(self.named)))
        self.named[entry] += 1
        self.touch(entry, surely=True)
        self.declare()

    def declare(self) -> None:
        self.tell(Declared(tuple(TargetSpec(entry, (f"f32[{n}]",)) for entry, n in self.named.items())))

    @rule(path=st.sampled_from(FILES))
    def save(self, path: str) -> None:
        self.change(path)
        self.tell(Saved({path: str(self.contents[path])}, frozenset({MODEL} if path == "/p/d.py" else {})))

    @rule(path=st.sampled_from(FILES))
    def save_without_a_change(self, path: str) -> None:
        self.tell(Saved({path: str(self.contents[path])}))

    @rule(path=st.sampled_from(FILES[:4]))
    def save_together(self, path: str) -> None:
        for each in (path, "/p/x.py"):
            self.change(each)
        changes = {each: str(self.contents[each]) for each in (path, "/p/x.py")}
        self.tell(Saved(changes, frozenset({MODEL} if path == "/p/d.py" else {})))

    @rule(decorated=st.sets(st.sampled_from(DECORATED)))
    def edit_decorators(self, decorated: set[str]) -> None:
        self.change("/p/d.py")
        self.decorated = tuple(sorted(decorated))
        changes = {"/p/d.py": str(self.contents["/p/d.py"])}
        if decorated:
            self.tell(Saved(changes, frozenset({MODEL})))
        else:
            for entry in DECORATED:
                self.verdict_reads.pop(entry, None)
            self.tell(Saved(changes, gone=frozenset({MODEL})))

    def change(self, path: str) -> None:
        self.contents[path] = next(self.numbers)
        for entry in TARGETS:
            if path in {**self.verdict_reads.get(entry, {}), **self.seen.get(entry, {}), **self.reads(entry)}:
                self.touch(entry, surely=False)

    @rule(entries=st.sets(st.sampled_from(TARGETS)))
    def ask(self, entries: set[str]) -> None:
        self.tell(Asked(tuple(sorted(entries))))

    @rule()
    def upgrade(self) -> None:
        for entry in TARGETS:
            self.touch(entry, surely=True)
        self.tell(Outdated("jax is another version"))

    @rule(crashing=st.sets(st.sampled_from(TARGETS), max_size=2))
    def break_or_mend(self, crashing: set[str]) -> None:
        # No file tells: a model may crash for reasons of its own.
        self.crashing = frozenset(crashing)

    # -- what builds come to -----------------------------------------------------------------------

    @precondition(lambda self: self.order is not None and self.outcome is None)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if isinstance(self.order, Discover):
            self.outcome = self.discovery()
        else:
            self.outcome = self.round(lambda entry: data.draw(st.sampled_from(VERDICTS), label=entry))

    def discovery(self) -> list[Event]:
        specs = tuple(TargetSpec(entry) for entry in self.decorated)
        return [Declared(specs, MODEL, frozenset({"/p/d.py"})), Ended()]

    def round(self, verdict) -> list[Event]:
        cohort = self.order.cohort
        culprits = [entry for entry in cohort if entry in self.crashing]
        changed = {entry for entry in cohort if self.reads(entry) != self.seen[entry]}
        judged = tuple(
            Judged(entry, "inconclusive" if culprits else verdict(entry), self.seen[entry])
            for entry in cohort
            if entry not in changed and (not culprits or entry in culprits)
        )
        again = tuple(entry for entry in cohort if culprits and entry not in culprits)
        return [
            Ended(judged, again, tuple(entry for entry in cohort if entry in changed and entry not in again))
        ]

    @precondition(lambda self: self.outcome is not None)
    @rule()
    def deliver(self) -> None:
        events, self.outcome, self.order = self.outcome, None, None
        since, surely = self.since_start, self.surely_since_start
        *declared, ended = events
        for event in declared:
            self.order = Discover(())  # still under way
            for entry in {spec.entry for spec in event.targets} ^ {*self.existing()} & {*DECORATED}:
                self.touch(entry, surely=True)
                self.verdict_reads.pop(entry, None)
            self.tell(event)
        self.order = None
        for one in ended.judged:
            if self.plan.exists(one.entry):
                self.verdict_reads[one.entry] = dict(one.reads)
                self.changed_in_a_row[one.entry] = 0
                if one.entry not in since:
                    self.perhaps_stale.discard(one.entry)
                if one.entry not in surely:
                    self.surely_stale.discard(one.entry)
        for entry in ended.changed:
            self.perhaps_stale.add(entry)
            self.changed_in_a_row[entry] += 1
            if self.changed_in_a_row[entry] > MOST_TRIES:
                self.given_up.add(entry)
        self.seen = {}
        self.tell(ended)

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def fresh_is_true(self) -> None:
        for entry in self.existing():
            reads = self.verdict_reads.get(entry)
            if self.outcome is not None and entry in self.seen:
                continue  # the plan has not heard yet what the build read
            if reads is None or entry in self.surely_stale:
                assert not self.plan.fresh(entry), f"{entry} was never judged as it stands"
            elif any(content != str(self.contents[path]) for path, content in reads.items()):
                assert not self.plan.fresh(entry), f"{entry} is judged on files that are no more"
            elif entry not in self.perhaps_stale:
                assert self.plan.fresh(entry), f"nothing happened to {entry}"

    @invariant()
    def rest_is_earned(self) -> None:
        assert self.plan.idle == (self.order is None), "something waits and nothing is under way"
        if not self.plan.idle:
            return
        assert set(self.existing()) == {*self.named, *self.decorated}
        for entry in self.existing():
            assert self.plan.state(entry) == "idle"
            assert self.plan.fresh(entry) or entry in self.given_up, f"{entry} is stale, and nobody cares"

    @invariant()
    def states_are_told(self) -> None:
        building = set(self.order.cohort) if isinstance(self.order, Validate) else set()
        for entry in self.existing():
            assert (self.plan.state(entry) == "building") == (entry in building)
            assert self.plan.waits((entry,)) == (self.plan.discovering or self.plan.state(entry) != "idle")

    def teardown(self) -> None:
        """When nobody edits any more the plan comes to rest, whatever crashes."""
        for _ in range(MOST_ROUNDS):
            if self.order is None:
                break
            if self.outcome is None:
                discovering = isinstance(self.order, Discover)
                self.outcome = self.discovery() if discovering else self.round(lambda _: "agree")
            self.deliver()
        assert self.plan.idle, "it builds for ever"
        self.fresh_is_true()
        self.rest_is_earned()


TestProject = Project.TestCase
TestProject.settings = settings(max_examples=150, stateful_step_count=40)
