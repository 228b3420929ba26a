"""When status files are written: soon, but not while somebody waits for what matters more."""

from __future__ import annotations

import pytest

from pcvd.pace import Pace


@pytest.fixture
def pace():
    return Pace()


def test_what_takes_no_time_is_done_at_every_change(pace):
    for now in (0.0, 0.1, 0.2):
        assert pace.due(now, idle=False, awaited=True)
        pace.wrote(now, now + 0.001)


def test_what_takes_a_while_is_done_during_a_hundredth_of_the_time(pace):
    pace.wrote(10.0, 11.0)
    assert not pace.due(109.0, idle=False, awaited=False)
    assert pace.due(110.0, idle=False, awaited=False)


def test_nobody_who_waits_for_a_verdict_waits_for_it(pace):
    pace.wrote(10.0, 10.1)
    assert not pace.due(100.0, idle=False, awaited=True)
    assert not pace.due(109.0, idle=False, awaited=True)
    assert pace.due(110.0, idle=False, awaited=True), "files may not be behind for ever"


def test_when_all_is_said_it_is_done_at_once(pace):
    pace.wrote(10.0, 11.0)
    assert pace.due(11.1, idle=True, awaited=False)
