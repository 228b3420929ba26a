"""What an earlier life knew, held against what is so now, and why it no longer holds."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from pcvd import recovery
from pcvd.core.model import Read, TargetSpec
from pcvd.files import Files
from pcvd.store import Discovered, Standing


def digest(data):
    return hashlib.sha256(data).hexdigest()


PREMISES = (
    Read("version", "jax", "0.10.2"),
    Read("version", "packages", "aa"),
    Read("setting", "settings", "11"),
    Read("setting", "variables", "22"),
    Read("setting", "affinity", "[0, 1]"),
)


@pytest.fixture
def stale(tmp_path):
    """Why a target is stale whose builds read `changed` instead of what is so now."""
    (tmp_path / "m.py").write_bytes(b"now")
    own = Read("file", str(tmp_path / "m.py"), digest(b"now"))
    color = Read("env", "COLOR", digest(b"red"))

    def ask(*changed, premises=PREMISES):
        names = {(read.kind, read.name) for read in changed}
        rest = [read for read in (own, color, *PREMISES) if (read.kind, read.name) not in names]
        standing = Standing(
            TargetSpec("m.py:f"), "agree", "{}", ("serial",), "2026-01-01T00:00:00Z", (*rest, *changed),
            "e", ("m.py:f",), (),
        )  # fmt: skip
        (known,), digests = asyncio.run(
            recovery.known([standing], premises, {"COLOR": "red"}, Files(), str(tmp_path))
        )
        assert digests.keys() == known.reads.keys()
        return known.stale

    return ask


def test_what_still_holds_is_not_stale(stale):
    assert stale() is None
    assert stale(Read("env", "ABSENT", None)) is None


def test_a_file_is_named_from_the_root(stale, tmp_path):
    assert stale(Read("file", str(tmp_path / "m.py"), digest(b"then"))) == "m.py changed since it was judged"
    gone = Read("file", str(tmp_path / "sub" / "gone.npy"), digest(b""))
    assert stale(gone) == "sub/gone.npy changed since it was judged"
    assert stale(Read("file", "/etc/nowhere", "00")) == "/etc/nowhere changed since it was judged"


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (Read("version", "jax", "0.10.1"), "jax was 0.10.1, and is 0.10.2, since it was judged"),
        (Read("version", "packages", "bb"), "the installed packages changed since it was judged"),
        (Read("setting", "settings", "12"), "the settings changed since it was judged"),
        (Read("setting", "variables", "23"), "a variable that JAX or XLA reads changed since it was judged"),
        (Read("setting", "affinity", "[0]"), "the set of processors changed since it was judged"),
        (Read("env", "COLOR", digest(b"blue")), "the variable COLOR changed since it was judged"),
        (Read("env", "COLOR", None), "the variable COLOR changed since it was judged"),
    ],
)
def test_what_changed_is_named(read, why, stale):
    assert stale(read) == why


def test_without_premises_nothing_is_known_to_hold(stale):
    assert stale(premises=()) == "it could not be found out what its builds rest on"


# -- what model files declare ----------------------------------------------------------------------


@pytest.fixture
def declared(tmp_path):
    """What is known to be declared by a file that read these, and by one that read nothing that changes."""
    (tmp_path / "m.py").write_bytes(b"now")
    (tmp_path / "data").mkdir()
    own = Read("file", str(tmp_path / "m.py"), digest(b"now"))
    absent = Read("file", str(tmp_path / "sub" / "none.txt"), None)

    def ask(*reads, premises=PREMISES):
        found = [
            Discovered("m.py", (TargetSpec("m.py:f"),), (own, absent, *PREMISES, *reads)),
            Discovered("n.py", (TargetSpec("n.py:g"),), (absent, *PREMISES)),
        ]
        told, digests = asyncio.run(
            recovery.declared(found, premises, {"COLOR": "red"}, Files(), str(tmp_path))
        )
        assert all(digests.keys() >= one.reads for one in told)
        return {one.source: [spec.entry for spec in one.targets] for one in told}

    return ask


BOTH = {"m.py": ["m.py:f"], "n.py": ["n.py:g"]}
OTHER = {"n.py": ["n.py:g"]}


def test_what_a_file_declares_is_known_as_long_as_nothing_that_it_read_has_changed(declared, tmp_path):
    assert declared() == BOTH
    assert declared(Read("env", "COLOR", digest(b"red"))) == BOTH
    assert declared(Read("env", "COLOR", digest(b"blue"))) == OTHER
    assert declared(Read("env", "COLOR", None)) == OTHER
    assert declared(Read("file", str(tmp_path / "gone.txt"), digest(b""))) == OTHER
    assert declared(Read("file", str(tmp_path / "m.py") + "//text", digest(b"then"))) == OTHER
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "none.txt").touch()
    assert declared() == {}


def test_other_premises_or_none_leave_nothing_known(declared):
    assert declared(premises=()) == {}
    assert declared(premises=[replace(PREMISES[0], digest="other"), *PREMISES[1:]]) == {}
