"""Leisure: which errand comes when, without a clock; and whether a battery feeds the machine."""

from __future__ import annotations

import pytest

from pcvd.leisure import Errand, Leisure, on_battery


def run(leisure, until):
    """The errands that come up until that time, each done at once."""
    done = []
    while (date := leisure.next())[0] is not None and date[0] <= until:
        at, errand = date
        done.append((at, errand))
        leisure.done(errand)
        if errand is Errand.SOAK:
            leisure.soaked(at + 10, 10)
    return done


def test_workers_are_prepared_at_once_evidence_gathered_later_and_all_given_back_in_the_end():
    found = run(Leisure(1000.0, soak=True), 2000.0)
    assert found[:2] == [(1000.0, Errand.PREPARE), (1030.0, Errand.SOAK)]
    assert (1600.0, Errand.REST) in found


def test_without_soak_nothing_happens_in_between():
    assert run(Leisure(0.0, soak=False), 9999.0) == [(0.0, Errand.PREPARE), (600.0, Errand.REST)]


def test_a_round_that_gathers_evidence_is_followed_by_ten_times_its_length_of_nothing():
    soaks = [at for at, errand in run(Leisure(0.0, soak=True), 500.0) if errand is Errand.SOAK]
    assert soaks == [30.0, 140.0, 250.0, 360.0, 470.0]


def test_who_had_rested_rests_again_after_gathering_evidence():
    rests = [at for at, errand in run(Leisure(0.0, soak=True), 800.0) if errand is Errand.REST]
    assert rests == [600.0, 700.0]


def test_work_begins_it_all_anew():
    leisure = Leisure(0.0, soak=True)
    run(leisure, 5000.0)
    leisure.worked(5000.0)
    assert run(leisure, 5030.0) == [(5000.0, Errand.PREPARE), (5030.0, Errand.SOAK)]


def test_a_busy_machine_is_asked_again_later():
    leisure = Leisure(0.0, soak=True)
    leisure.done(Errand.PREPARE)
    leisure.done(Errand.SOAK)
    leisure.postpone(40.0)
    assert leisure.next() == (70.0, Errand.SOAK)


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, False),
        ({"AC": ("Mains", "1"), "BAT0": ("Battery", None)}, False),
        ({"AC": ("Mains", "0"), "BAT0": ("Battery", None)}, True),
        ({"AC": ("Mains", "0"), "usb": ("USB", "1"), "BAT0": ("Battery", None)}, False),
        ({"BAT0": ("Battery", None)}, False),
        ({"AC": ("Mains", "0")}, False),
    ],
)
def test_a_battery_feeds_the_machine_when_no_mains_are_online(tmp_path, supplies, expected):
    for name, (kind, online) in supplies.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "type").write_text(kind + "\n")
        if online is not None:
            (tmp_path / name / "online").write_text(online + "\n")
    assert on_battery(tmp_path) is expected
