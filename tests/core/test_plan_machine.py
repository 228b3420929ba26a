"""The plan against a naive model of a project that is edited while it is built.

The model knows the truth: what every file holds, which targets exist, what each build read. The plan only
hears of it, and must never call a verdict fresh that is not, nor rest before everything has been judged.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pcvd.core.events import (
    Abandon,
    Asked,
    Bored,
    Confirmed,
    Declared,
    Discover,
    Dragging,
    Ended,
    Event,
    Judged,
    Outdated,
    Retrace,
    Saved,
    Validate,
    Work,
)
from pcvd.core.held import MOST_TRIES
from pcvd.core.model import TargetSpec, model_file
from pcvd.core.plan import Plan
from pcvd.core.turns import MOST_TOGETHER
from pcvd.core.underway import MOST_LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMED = ("a.py:f", "a.py:g", "b.py:f", "c.py:f")  # by the settings
MODEL = "d.py"
DECORATED = ("d.py:f", "d.py:g")  # by decorators in the model file
TARGETS = (*NAMED, *DECORATED)
FILES = ("/p/a.py", "/p/b.py", "/p/c.py", "/p/d.py", "/p/x.py", "/p/y.py")
VERDICTS = ("agree", "equivalent", "diverged", "unstable", "inconclusive")
MOST_ROUNDS = 60  # far more than a plan for six targets needs to come to rest


@dataclass
class Under:
    """An order under way, and what has happened since it began."""

    order: Work
    seen: dict[str, dict[str, str]] = field(default_factory=dict)  # what its builds found in their files
    since: set[str] = field(default_factory=set)  # what went perhaps stale meanwhile
    surely_since: set[str] = field(default_factory=set)
    outcome: list[Event] | None = None  # what it came to, not told yet
    abandoned: bool = False

    @property
    def judges(self) -> tuple[str, ...]:
        order = self.order
        if not isinstance(order, Validate) or order.aside or order.soak is not None:
            return ()
        return order.cohort


class Project(RuleBasedStateMachine):
    """Edits, builds and verdicts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = Plan(root="/p")
        self.numbers: Iterator[int] = itertools.count(1)
        self.contents = dict.fromkeys(FILES, 0)
        self.comments = dict.fromkeys(FILES, 0)  # which change what a file holds, and nothing of what it does
        self.named: dict[str, int] = {}  # target to the version of its arguments
        self.decorated: tuple[str, ...] = ()
        self.crashing: frozenset[str] = frozenset()
        self.racing: frozenset[str] = frozenset()  # another program where more threads trace it

        self.under: dict[int, Under] = {}
        self.verdict_reads: dict[str, dict[str, str]] = {}
        self.surely_stale: set[str] = set(TARGETS)
        self.perhaps_stale: set[str] = set(TARGETS)
        self.changed_in_a_row = dict.fromkeys(TARGETS, 0)
        self.given_up: set[str] = set()
        self.owing: set[str] = set()  # confirmed, and not seen yet under every schedule

    # -- the truth ---------------------------------------------------------------------------------

    def reads(self, entry: str) -> dict[str, str]:
        """What a build of the target finds now: its own file, and helpers that the file's content selects."""
        own = f"/p/{entry.partition(':')[0]}"
        content = self.contents[own]
        paths = [own, *(["/p/x.py"] if content % 2 else []), *(["/p/y.py"] if content % 3 == 1 else [])]
        return {path: self.digest(path) for path in paths}

    def digest(self, path: str) -> str:
        return f"{self.contents[path]}#{self.comments[path]}"

    def existing(self) -> list[str]:
        return [spec.entry for spec in self.plan.targets]

    def touch(self, entry: str, *, surely: bool) -> None:
        self.perhaps_stale.add(entry)
        self.given_up.discard(entry)
        if surely:
            self.surely_stale.add(entry)
        for under in self.under.values():
            under.since.add(entry)
            if surely:
                under.surely_since.add(entry)

    def tell(self, event: Event) -> None:
        for order in self.plan.handle(event):
            if isinstance(order, Abandon):
                under = self.under[order.order]
                assert not under.abandoned, "given up twice"
                under.abandoned = True
                continue
            assert order.number not in self.under
            assert order.by, "every order has an event behind it"
            under = self.under[order.number] = Under(order)
            if isinstance(order, Validate | Retrace):
                self.check(order)
                under.seen = {entry: self.reads(entry) for entry in order.cohort}
        busy = [under for under in self.under.values() if not under.abandoned]
        assert len(busy) <= 1 + MOST_LONG, "too much at once"

    def check(self, order: Validate | Retrace) -> None:
        existing = self.existing()
        assert order.cohort
        assert isinstance(order, Retrace) or order.why
        assert len(order.cohort) <= MOST_TOGETHER
        assert order.cohort == tuple(entry for entry in existing if entry in order.cohort)

    # -- what people do ----------------------------------------------------------------------------

    @initialize(
        names=st.sets(st.sampled_from(NAMED)),
        decorated=st.sets(st.sampled_from(DECORATED)),
        calm=st.booleans(),
    )
    def begin(self, names: set[str], decorated: set[str], calm: bool) -> None:
        self.decorated = tuple(sorted(decorated))
        self.tell(Saved({}, frozenset({MODEL})))
        self.name_in_settings(names)
        if calm:
            self.leave_alone("agree")

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
        self.tell(Saved({path: self.digest(path)}, frozenset({MODEL} if path == "/p/d.py" else {})))

    @rule(path=st.sampled_from(FILES))
    def save_without_a_change(self, path: str) -> None:
        self.tell(Saved({path: self.digest(path)}))

    @rule(path=st.sampled_from(FILES[:4]))
    def save_together(self, path: str) -> None:
        for each in (path, "/p/x.py"):
            self.change(each)
        changes = {each: self.digest(each) for each in (path, "/p/x.py")}
        self.tell(Saved(changes, frozenset({MODEL} if path == "/p/d.py" else {})))

    @rule(path=st.sampled_from(FILES))
    def comment(self, path: str) -> None:
        before = self.digest(path)
        self.comments[path] = next(self.numbers)
        for entry in self.readers(path):
            reads, busy = (
                self.verdict_reads.get(entry, {}),
                any(entry in one.seen for one in self.under.values()),
            )
            if busy or any(held != self.digest(each) for each, held in reads.items() if each != path):
                self.touch(entry, surely=False)
        declaring = frozenset({MODEL} if path == "/p/d.py" and self.decorated else {})
        self.tell(Saved({path: self.digest(path)}, declaring, cosmetic={path: before}))

    @rule(decorated=st.sets(st.sampled_from(DECORATED)))
    def edit_decorators(self, decorated: set[str]) -> None:
        self.change("/p/d.py")
        self.decorated = tuple(sorted(decorated))
        changes = {"/p/d.py": self.digest("/p/d.py")}
        if decorated:
            self.tell(Saved(changes, frozenset({MODEL})))
        else:
            for entry in DECORATED:
                self.verdict_reads.pop(entry, None)
            self.tell(Saved(changes, gone=frozenset({MODEL})))

    def change(self, path: str) -> None:
        self.contents[path] = next(self.numbers)
        for entry in self.readers(path):
            self.touch(entry, surely=False)

    def readers(self, path: str) -> Iterator[str]:
        for entry in TARGETS:
            seen = [under.seen.get(entry, {}) for under in self.under.values()]
            if any(path in reads for reads in (self.verdict_reads.get(entry, {}), self.reads(entry), *seen)):
                yield entry

    @rule(entries=st.sets(st.sampled_from(TARGETS)))
    def ask(self, entries: set[str]) -> None:
        self.tell(Asked(tuple(sorted(entries))))

    @rule()
    def upgrade(self) -> None:
        for entry in TARGETS:
            self.touch(entry, surely=True)
        self.tell(Outdated("jax is another version"))

    @rule()
    def do_nothing_for_long(self) -> None:
        self.tell(Bored())

    @rule(
        crashing=st.sets(st.sampled_from(TARGETS), max_size=2),
        racing=st.sets(st.sampled_from(TARGETS)),
    )
    def break_or_mend(self, crashing: set[str], racing: set[str]) -> None:
        # No file tells: a model may crash for reasons of its own.
        self.crashing, self.racing = frozenset(crashing), frozenset(racing)

    # -- what builds come to -----------------------------------------------------------------------

    @precondition(lambda self: any(under.outcome is None for under in self.under.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([n for n, under in self.under.items() if under.outcome is None]))
        confirms = data.draw(st.booleans(), label="its programs are the same")
        partial = data.draw(st.booleans(), label="there are more schedules")
        verdict = lambda entry: data.draw(st.sampled_from(VERDICTS), label=entry)  # noqa: E731
        self.come_to(number, verdict, confirms=confirms, partial=partial)

    def come_to(self, number: int, verdict, *, confirms: bool = False, partial: bool = False) -> None:
        under = self.under[number]
        if under.abandoned:  # and it heard of it in time
            under.outcome = [Ended(failed=True, order=number)]
        elif isinstance(under.order, Discover):
            specs = tuple(TargetSpec(entry) for entry in self.decorated)
            under.outcome = [
                Declared(specs, MODEL, frozenset({"/p/d.py"}), order=number), Ended(order=number),
            ]  # fmt: skip
        elif isinstance(under.order, Retrace):
            under.outcome = [self.retraced(number, under)]
        else:
            quick = not under.order.whole
            ended = self.round(number, under, verdict, confirms=quick and confirms, partial=quick and partial)
            under.outcome = [ended]

    def round(self, number: int, under: Under, verdict, *, confirms: bool, partial: bool) -> Ended:
        cohort = under.order.cohort
        culprits = [entry for entry in cohort if entry in self.crashing]
        changed = {entry for entry in cohort if self.reads(entry) != under.seen[entry]}
        sound = [entry for entry in cohort if entry not in changed and (not culprits or entry in culprits)]
        again = tuple(entry for entry in cohort if culprits and entry not in culprits)
        changed_ones = tuple(entry for entry in cohort if entry in changed and entry not in again)
        if confirms and not culprits:
            kept = [entry for entry in sound if entry in self.verdict_reads]
            sound = [entry for entry in sound if entry not in kept]
        else:
            kept = []
        owed = dict(under.order.owed)
        judged = []
        for entry in sound:
            word = "inconclusive" if culprits else verdict(entry)
            provisional = entry in owed and word in {"agree", "equivalent"}
            word = "inconclusive" if provisional else word
            reads = under.seen[entry]
            judged.append(Judged(entry, word, reads, partial=partial, provisional=provisional))
        confirmed = tuple(Confirmed(entry, under.seen[entry], partial) for entry in kept)
        return Ended(tuple(judged), again, changed_ones, confirmed=confirmed, order=number)

    def retraced(self, number: int, under: Under) -> Ended:
        cohort = under.order.cohort
        changed = tuple(entry for entry in cohort if self.reads(entry) != under.seen[entry])
        same = [entry for entry in cohort if entry not in changed]
        doubted = tuple(entry for entry in same if entry in self.racing)
        confirmed = tuple(Confirmed(entry, under.seen[entry]) for entry in same if entry not in doubted)
        return Ended(changed=changed, confirmed=confirmed, doubted=doubted, order=number)

    @precondition(lambda self: any(under.outcome is not None for under in self.under.values()))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.hear(data.draw(st.sampled_from([n for n, one in self.under.items() if one.outcome is not None])))

    def hear(self, number: int) -> None:
        under = self.under[number]
        *declared, ended = under.outcome
        for event in declared:
            for entry in {spec.entry for spec in event.targets} ^ {*self.existing()} & {*DECORATED}:
                self.touch(entry, surely=True)
                self.verdict_reads.pop(entry, None)
            self.tell(event)
        del self.under[number]
        for one in (*ended.judged, *ended.confirmed):
            if self.plan.exists(one.entry):
                self.verdict_reads[one.entry] = dict(one.reads)
                self.changed_in_a_row[one.entry] = 0
                if one.entry not in under.since:
                    self.perhaps_stale.discard(one.entry)
                if one.entry not in under.surely_since:
                    self.surely_stale.discard(one.entry)
        self.owing.difference_update(one.entry for one in ended.judged)
        if isinstance(under.order, Retrace):
            self.owing.difference_update(one.entry for one in ended.confirmed)
        self.owing.update(one.entry for one in ended.confirmed if one.partial)
        self.perhaps_stale.update(ended.doubted)
        for entry in ended.changed:
            self.perhaps_stale.add(entry)
            self.changed_in_a_row[entry] += 1
            if self.changed_in_a_row[entry] > MOST_TRIES:
                self.given_up.add(entry)
        self.tell(ended)

    @precondition(lambda self: self.under)
    @rule(word=st.sampled_from(VERDICTS), same=st.booleans())
    def leave_alone(self, word: str, same: bool = False) -> None:
        # Else hardly anything would ever be fresh, and edited then.
        for _ in range(MOST_ROUNDS):
            if self.under:
                number = next(iter(self.under))
                if self.under[number].outcome is None:
                    self.come_to(number, lambda _: word, confirms=same, partial=same)
                self.hear(number)

    @precondition(lambda self: any(isinstance(one.order, Validate) for one in self.under.values()))
    @rule()
    def confirm_as_far_as_the_first_tier_sees(self) -> None:
        # Else hardly anything would ever happen while it is traced under the other schedules.
        for number in [n for n, one in self.under.items() if isinstance(one.order, Validate)][:1]:
            if self.under[number].outcome is None:
                self.come_to(number, lambda _: "agree", confirms=True, partial=True)
            self.hear(number)

    @precondition(lambda self: any(not under.abandoned for under in self.under.values()))
    @rule(data=st.data())
    def drag_on(self, data: st.DataObject) -> None:
        self.tell(Dragging(data.draw(st.sampled_from(list(self.under)))))

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def fresh_is_true(self) -> None:
        for entry in self.existing():
            reads = self.verdict_reads.get(entry)
            if any(one.outcome is not None and entry in one.seen for one in self.under.values()):
                continue  # the plan has not heard yet what the build read
            if reads is None or entry in self.surely_stale:
                assert not self.plan.fresh(entry), f"{entry} was never judged as it stands"
            elif any(code(held) != str(self.contents[path]) for path, held in reads.items()):
                assert not self.plan.fresh(entry), f"{entry} is judged on files that are no more"
            elif entry not in self.perhaps_stale:
                assert self.plan.fresh(entry), f"nothing happened to {entry}"

    @invariant()
    def rest_is_earned(self) -> None:
        assert self.plan.idle == (not self.under), "something waits and nothing is under way"
        if not self.plan.idle:
            return
        assert not self.plan.unfinished()
        assert set(self.existing()) == {*self.named, *self.decorated}
        for entry in self.existing():
            assert self.plan.state(entry) == "idle"
            assert self.plan.fresh(entry) or entry in self.given_up, f"{entry} is stale, and nobody cares"
            assert entry not in self.owing or not self.plan.fresh(entry), f"{entry} was never seen whole"
            if self.plan.fresh(entry):
                assert self.verdict_reads[entry] == self.reads(entry), f"{entry} was never confirmed"

    @invariant()
    def states_are_told(self) -> None:
        building = {entry for under in self.under.values() for entry in under.judges}
        for entry in self.existing():
            assert (self.plan.state(entry) == "building") == (entry in building)
            asked = model_file(entry) in self.plan.asking
            assert self.plan.waits((entry,)) == (asked or self.plan.state(entry) != "idle")
        waiting = any(self.plan.state(entry) != "idle" for entry in self.existing())
        assert self.plan.waits() or not waiting
        assert not (self.plan.waits() and self.plan.idle)

    def teardown(self) -> None:
        """When nobody edits any more the plan comes to rest, whatever crashes."""
        self.leave_alone("agree")
        assert self.plan.idle, "it builds for ever"
        self.fresh_is_true()
        self.rest_is_earned()


def code(held: str) -> str:
    """What a file does, of what it holds."""
    return held.partition("#")[0]


TestProject = Project.TestCase
TestProject.settings = settings(max_examples=250, stateful_step_count=40)
