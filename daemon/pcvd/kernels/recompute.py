"""What crosses a cut, and what is rather computed again on the other side.

A value that a later kernel needs must be kept until then. Much of what the backward pass of a layer asks
for is an elementwise function of a few others, which XLA would fuse into its users; kept, it doubles the
memory. So each kernel takes over, from every earlier kernel it depends on, the cheapest set of values from
which all that it needs can be had by cheap equations: a minimum cut between what is dear to compute and
what is needed, weighed in bytes. The idea of a minimum cut is that of AOTAutograd's partitioner (Horace He
and Shangdi Yu, "Transcending runtime-memory tradeoffs in checkpointing by being fusion aware", 2023); here
it is applied kernel by kernel, and never further back than to the inputs of the kernel that a value was
made in, so that the work stays linear.

Pure: knows equations by their places and values by their numbers, and nothing of JAX.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_PER_VALUE = 64
"""What one more value at a boundary costs beside its bytes: at equal bytes, fewer values."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Equations by their place: the values that each reads and writes, whether it is cheap, whether it must
    run even if nobody uses its results; each value's bytes.

    `free` are values that are there anyway: arguments and constants. `results` are those of the program.
    """

    reads: Sequence[tuple[int, ...]]
    writes: Sequence[tuple[int, ...]]
    cheap: Sequence[bool]
    must_run: Sequence[bool]
    sizes: Sequence[int]
    free: frozenset[int]
    results: frozenset[int]

    def makers(self) -> dict[int, int]:
        """The equation that makes each value."""
        return {value: place for place, writes in enumerate(self.writes) for value in writes}

    def needed(self, places: Sequence[int], wanted: set[int]) -> list[int]:
        """Those of the equations at ascending `places` without which something `wanted` would be missing."""
        wanted = set(wanted)
        kept = []
        for place in reversed(places):
            if self.must_run[place] or not wanted.isdisjoint(self.writes[place]):
                wanted.update(self.reads[place])
                kept.append(place)
        return kept[::-1]


@dataclass(frozen=True, slots=True)
class Share:
    """What a kernel computes: the `recomputed` equations of earlier kernels, then its `own`; and which of the
    values that those make others want.
    """

    recomputed: tuple[int, ...]
    own: tuple[int, ...]
    made: tuple[int, ...]


def shares(flow: Flow, segments: Sequence[range]) -> list[Share]:
    """What each of the kernels that are to run the equations of `segments` computes, one share a segment.

    What nobody wants any more, because those who want it compute it themselves, is left out; of a segment of
    nothing but cheap equations, everything may be.
    """
    makers = flow.makers()
    segment_of = {place: number for number, segment in enumerate(segments) for place in segment}
    # Arguments that are given away are not free to read again, and come from no segment.
    home = {value: segment_of[place] for value, place in makers.items()}
    wanted = set(flow.results)
    found = []
    for segment in reversed(segments):
        own = flow.needed(segment, wanted)
        made = [value for place in own for value in flow.writes[place] if value in wanted]
        read = {value for place in own for value in flow.reads[place]}
        taken = {value for value in read if value not in flow.free and makers.get(value, -1) < segment.start}
        recomputed: set[int] = set()
        pending = {home[value] for value in taken if value in home}
        while pending:
            producer = max(pending)  # what is taken in exchange comes from it or from earlier ones
            pending.remove(producer)
            here = {value for value in taken if home.get(value) == producer}
            if any(flow.cheap[makers[value]] for value in here):
                kept, again = _exchange(flow, makers, segments[producer], here, taken)
                recomputed |= again
                taken = (taken - here) | kept
                pending |= {home[value] for value in kept if value in home} - {producer}
        wanted |= taken
        found.append(Share(tuple(sorted(recomputed)), tuple(own), tuple(made)))
    return found[::-1]


def _exchange(
    flow: Flow, makers: dict[int, int], producer: range, wanted: set[int], taken: set[int]
) -> tuple[set[int], set[int]]:
    """The values to take instead of the `wanted` ones, all made in `producer`, and the equations to compute
    again; at the least bytes, and among those with the least to compute.
    """
    free = flow.free | (taken - wanted)
    network = _Network()
    again: set[int] = set()
    seen = set(wanted)
    stack = sorted(wanted)
    while stack:
        value = stack.pop()
        place = makers.get(value, -1)
        inner = place in producer and flow.cheap[place]
        # What is dear and wanted must be taken in any case, so it may as well serve for others.
        size = 0 if value in wanted and not inner else flow.sizes[value] + _PER_VALUE
        network.connect((value, 0), (value, 1), size)
        if value in wanted:
            network.connect((value, 1), _Network.SINK, _Network.ENDLESS)
        if not inner:
            network.connect(_Network.SOURCE, (value, 0), _Network.ENDLESS)
            continue
        for operand in flow.reads[place]:
            if operand in free:
                continue
            network.connect((operand, 1), (value, 0), _Network.ENDLESS)
            if operand not in seen:
                seen.add(operand)
                stack.append(operand)
    kept = network.cut()
    kept |= {value for value in wanted if not (makers[value] in producer and flow.cheap[makers[value]])}
    stack = sorted(wanted - kept)
    done = set(kept)
    while stack:
        value = stack.pop()
        if value in done or value in free:
            continue
        done.add(value)
        again.add(makers[value])
        stack.extend(flow.reads[makers[value]])
    return kept, again


class _Network:
    """A flow network whose minimum cut is found by augmenting along shortest paths (Edmonds and Karp, 1972).

    Each value is an edge from (value, 0) to (value, 1), as wide as the value is large; only those can be cut.
    """

    SOURCE = (-1, 0)
    SINK = (-1, 1)
    ENDLESS = 1 << 62

    def __init__(self) -> None:
        self._room: dict[Any, dict[Any, int]] = {self.SOURCE: {}, self.SINK: {}}

    def connect(self, start: tuple[int, int], end: tuple[int, int], width: int) -> None:
        """Add an edge."""
        self._room.setdefault(start, {})[end] = width
        self._room.setdefault(end, {}).setdefault(start, 0)

    def cut(self) -> set[int]:
        """The values that cut source from sink at the least width; of several such sets, the one nearest the
        sink. What has no path from the source needs no cut: it can be computed from nothing.
        """
        while self._augment():
            pass
        near = {self.SINK}
        queue = deque(near)
        while queue:
            end = queue.popleft()
            # A neighbour can still reach the sink if there is room from it to here.
            for start in self._room[end]:
                if start not in near and self._room[start].get(end, 0) > 0:
                    near.add(start)
                    queue.append(start)
        return {value for value, side in near if side == 1 and value >= 0 and (value, 0) not in near}

    def _augment(self) -> bool:
        came: dict[Any, Any] = {self.SOURCE: None}
        queue = deque([self.SOURCE])
        while queue and self.SINK not in came:
            start = queue.popleft()
            for end, room in self._room[start].items():
                if room > 0 and end not in came:
                    came[end] = start
                    queue.append(end)
        if self.SINK not in came:
            return False
        path = [self.SINK]
        while came[path[-1]] is not None:
            path.append(came[path[-1]])
        path.reverse()
        width = min(self._room[start][end] for start, end in pairwise(path))
        for start, end in pairwise(path):
            self._room[start][end] -= width
            self._room[end][start] += width
        return True
