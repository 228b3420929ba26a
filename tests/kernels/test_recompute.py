"""What crosses a cut, on graphs written down by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pcvd.kernels.recompute import Flow, Share, shares

BIG, SMALL = 1_000_000, 1_000


def flow(*equations, sizes=None, free=(), results=(), must_run=()):
    """Each equation is (reads, writes, cheap); values without a size are big."""
    values = 1 + max(value for reads, writes, _ in equations for value in (*reads, *writes))
    sizes = sizes or {}
    return Flow(
        reads=[reads for reads, _, _ in equations],
        writes=[writes for _, writes, _ in equations],
        cheap=[cheap for _, _, cheap in equations],
        must_run=[place in must_run for place in range(len(equations))],
        sizes=[sizes.get(value, BIG) for value in range(values)],
        free=frozenset(free),
        results=frozenset(results),
    )


def cut(given, *places):
    edges = [0, *places, len(given.reads)]
    return shares(given, [range(edges[n], edges[n + 1]) for n in range(len(edges) - 1)])


def test_a_dear_value_crosses():
    given = flow(((0,), (1,), False), ((1,), (2,), False), free={0}, results={2})
    assert cut(given, 1) == [Share((), (0,), (1,)), Share((), (1,), (2,))]


def test_a_cheap_function_of_an_argument_is_computed_again():
    given = flow(((0,), (1,), True), ((1,), (2,), False), ((1, 2), (3,), False), free={0}, results={3})
    first, second = cut(given, 2)
    assert first == Share((), (0, 1), (2,))
    assert second == Share((0,), (2,), (3,))


def test_what_only_others_wanted_is_not_computed_at_all():
    given = flow(((0,), (1,), True), ((0,), (2,), False), ((1, 2), (3,), False), free={0}, results={3})
    first, second = cut(given, 2)
    assert first.own == (1,)
    assert second.recomputed == (0,)


def test_of_a_chain_the_narrowest_place_crosses():
    # 0 is dear to make; 1 and 3 are large, 2 between them is small.
    given = flow(
        ((9,), (0,), False), ((0,), (1,), True), ((1,), (2,), True), ((2,), (3,), True), ((3,), (4,), False),
        sizes={2: SMALL}, free={9}, results={4},
    )  # fmt: skip
    first, second = cut(given, 4)
    assert first.made == (2,)
    assert second.recomputed == (3,)


def test_at_equal_bytes_nothing_is_computed_again():
    given = flow(((9,), (0,), False), ((0,), (1,), True), ((1,), (2,), False), free={9}, results={2})
    first, second = cut(given, 2)
    assert first.made == (1,)
    assert second.recomputed == ()


def test_several_functions_of_one_value_cross_as_that_value():
    given = flow(
        ((9,), (0,), False),
        ((0,), (1,), True),
        ((0,), (2,), True),
        ((1, 2), (3,), False),
        free={9},
        results={3},
    )
    first, second = cut(given, 3)
    assert first.made == (0,)
    assert second.recomputed == (1, 2)


def test_what_crosses_anyway_serves_for_others():
    given = flow(
        ((9,), (0,), False),
        ((0,), (1,), True),
        ((0, 1), (2,), False),
        sizes={0: BIG, 1: BIG},
        free={9},
        results={2},
    )
    first, second = cut(given, 2)
    assert first.made == (0,)
    assert second.recomputed == (1,)


def test_it_goes_back_no_further_than_into_the_kernel_that_made_the_value():
    # A chain of cheap equations, a kernel each: going back to the argument would make the work quadratic.
    given = flow(*(((place,), (place + 1,), True) for place in range(6)), free={0}, results={6})
    every = cut(given, 1, 2, 3, 4, 5)
    assert [share.recomputed for share in every] == [(), (0,), (), (), (), ()]


def test_effects_are_kept_and_never_repeated():
    given = flow(((0,), (1,), False), ((1,), (2,), False), free={0}, results={1}, must_run={1})
    assert cut(given, 1)[1].own == (1,)


def test_from_nothing_everything_can_be_had():
    given = flow(((), (0,), True), ((0,), (1,), True), ((1,), (2,), False), results={2})
    first, second = cut(given, 2)
    assert first.own == ()
    assert second.recomputed == (0, 1)


@st.composite
def flows(draw):
    count = draw(st.integers(1, 14))
    equations = []
    sizes = {0: BIG, 1: SMALL}
    for place in range(count):
        known = st.integers(0, place + 1)
        reads = tuple(draw(st.lists(known, min_size=0 if place else 1, max_size=3, unique=True)))
        equations.append((reads, (place + 2,), draw(st.booleans())))
        sizes[place + 2] = draw(st.sampled_from([SMALL, BIG]))
    results = draw(st.sets(st.integers(2, count + 1), min_size=1, max_size=3))
    must_run = draw(st.sets(st.integers(0, count - 1), max_size=2))
    equations = [(r, w, cheap and place not in must_run) for place, (r, w, cheap) in enumerate(equations)]
    places = draw(st.lists(st.integers(1, count), max_size=4, unique=True))
    free = draw(st.sampled_from([{0, 1}, {0}]))  # an argument that is given away is not free
    made = flow(*equations, sizes=sizes, free=free, results=results, must_run=must_run)
    return made, sorted(set(places) - {count})


@settings(deadline=None, max_examples=300)
@given(flows())
def test_every_kernel_has_what_it_needs(drawn):
    given, places = drawn
    available = {0, 1}
    ran = []
    for share in cut(given, *places):
        known = set(available)
        for place in (*share.recomputed, *share.own):
            assert known.issuperset(given.reads[place])
            known.update(given.writes[place])
        assert known.issuperset(share.made)
        available.update(share.made)
        ran += share.own
    assert available >= given.results
    assert len(ran) == len(set(ran))
    assert {place for place, must in enumerate(given.must_run) if must} <= set(ran)


@settings(deadline=None, max_examples=300)
@given(flows())
def test_no_more_bytes_cross_than_without_computing_again(drawn):
    given, places = drawn

    def crossing(flow):
        every = cut(flow, *places)
        makers = flow.makers()
        total = 0
        for share in every:
            inside = {value for place in (*share.recomputed, *share.own) for value in flow.writes[place]}
            read = {value for place in (*share.recomputed, *share.own) for value in flow.reads[place]}
            total += sum(flow.sizes[value] + 64 for value in read - inside - flow.free if value in makers)
        return total

    never = Flow(
        given.reads,
        given.writes,
        [False] * len(given.cheap),
        given.must_run,
        given.sizes,
        given.free,
        given.results,
    )
    if len(places) == 1:  # with more kernels, what one takes may be dearer for those in between
        assert crossing(given) <= crossing(never)
