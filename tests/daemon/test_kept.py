"""Compiled kernels wait for a verdict, and are handed on with it."""

from __future__ import annotations

import os

import pytest

from pcv_config import places
from pcvd import kept

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def root(tmp_path):
    waiting = tmp_path / ".pcv" / "unproven"
    waiting.mkdir(parents=True)
    for key in (A, B, C):
        (waiting / key).write_text(key[0], encoding="utf-8")
    return tmp_path


def held(root, name):
    folder = root / ".pcv" / name
    return {path.name[0] for path in folder.iterdir()} if folder.exists() else set()


def test_what_agreed_is_handed_on_and_the_rest_thrown_away(root):
    assert kept.settle(str(root), {"f": (A,), "g": (B,)}, {"f"}, set()) == 1
    assert held(root, "kernels") == {"a"}
    assert held(root, "unproven") == {"c"}
    assert places.state(str(root), "kernels") == str(root / ".pcv" / "kernels")


def test_what_two_targets_share_is_handed_on_where_both_agree(root):
    assert kept.settle(str(root), {"f": (A, B), "g": (B, C)}, {"f"}, set()) == 1
    assert held(root, "kernels") == {"a"}
    assert held(root, "unproven") == set()


def test_what_is_no_longer_there_was_handed_on_by_another_round(root):
    kept.settle(str(root), {"f": (A,)}, {"f"}, set())
    assert kept.settle(str(root), {"f": (A,)}, {"f"}, set()) == 0
    assert held(root, "kernels") == {"a"}


def test_a_key_is_a_name_and_never_a_path(root):
    (root / "precious").write_text("mine", encoding="utf-8")
    assert kept.settle(str(root), {"f": ("../../precious",)}, set(), set()) == 0
    assert kept.settle(str(root), {"f": ("../../precious",)}, {"f"}, set()) == 0
    assert (root / "precious").exists()


def test_what_was_handed_on_goes_where_it_is_refuted_later(root):
    kept.settle(str(root), {"f": (A, B)}, {"f"}, set())
    kept.settle(str(root), {"f": (A,)}, set(), {"f"})
    assert held(root, "kernels") == {"b"}


def test_what_has_waited_for_days_was_forgotten(root):
    old = root / ".pcv" / "unproven" / B
    os.utime(old, (0, 0))
    kept.settle(str(root), {"f": (A,)}, {"f"}, set())
    assert held(root, "unproven") == {"c"}
