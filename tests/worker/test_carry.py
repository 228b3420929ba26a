"""Carrying out builds in a pool: they begin in their order, and overlap nevertheless."""

from __future__ import annotations

import threading

import pytest

from pcvd.worker.carry import Turnstile, Wave, carry_out


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_build_is_made_once_and_told_in_order(threads):
    made = []
    assert list(carry_out(50, threads, lambda place: made.append(place) or place)) == list(range(50))
    assert sorted(made) == list(range(50))


def test_no_build_begins_before_the_one_that_was_submitted_before_it():
    turnstile, entered = Turnstile(), threading.Event()

    def second():
        turnstile.enter(1)
        entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.2)
    turnstile.enter(0)
    assert entered.wait(60)
    thread.join()


def test_a_wave_overlaps():
    gate, inside = Wave(4), threading.Barrier(4, timeout=60)

    def make(place):
        gate.wait()
        inside.wait()  # breaks unless four are in here at once
        return place

    assert list(carry_out(4, 4, make)) == [0, 1, 2, 3]


def test_a_build_that_fails_lets_the_wave_go_on():
    gate = Wave(2)

    def make(place):
        if place == 0:
            gate.leave()
            return "failed"
        gate.wait()
        return "built"

    assert list(carry_out(2, 2, make)) == ["failed", "built"]


def test_serially_it_all_happens_on_this_thread():
    assert set(carry_out(3, 0, lambda _place: threading.current_thread())) == {threading.current_thread()}
