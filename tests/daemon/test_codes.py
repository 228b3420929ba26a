from __future__ import annotations

import asyncio

import pytest

from pcvd import codes
from pcvd.codes import Codes
from pcvd.files import Files

BEFORE, COMMENTED, EDITED = b"x = 1\n", b"x = 1  # one\n", b"x = 2\n"


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "m.py"
    path.write_bytes(BEFORE)
    return path


def held(path):
    return Files().digest(str(path))


def after(known, path, text):
    """What is said of a save of `text` at `path`."""
    before = held(path)
    path.write_bytes(text)
    return asyncio.run(known.alike({str(path): (before, held(path))}))


@pytest.fixture
def known(module):
    made = Codes()
    asyncio.run(made.learn({str(module): held(module)}))
    return made


def test_a_comment_is_told_from_an_edit(known, module):
    before = held(module)
    assert after(known, module, COMMENTED) == {str(module): before}
    assert after(known, module, EDITED) == {}


def test_what_came_of_a_comment_is_known_too(known, module):
    after(known, module, COMMENTED)
    before = held(module)
    assert after(known, module, BEFORE) == {str(module): before}


def test_of_what_was_never_seen_nothing_is_said(module):
    assert after(Codes(), module, COMMENTED) == {}


def test_a_file_that_holds_something_else_by_now_is_not_taken_for_what_it_was(module):
    made, digest = Codes(), held(module)
    module.write_bytes(EDITED)
    asyncio.run(made.learn({str(module): digest}))
    module.write_bytes(BEFORE)
    assert after(made, module, COMMENTED) == {}


def test_what_can_not_be_understood_is_equal_to_nothing(known, module):
    after(known, module, b"x = (\n")
    assert after(known, module, b"x = ( # nothing\n") == {}
    assert after(known, module, b"x = (\n") == {}


def test_who_reads_the_text_and_what_is_no_module_get_no_such_answer(known, module, tmp_path):
    before = held(module)
    module.write_bytes(COMMENTED)
    asked = {f"{module}//text": (before, held(module))}
    data = tmp_path / "m.txt"
    data.write_bytes(COMMENTED)
    asked[str(data)] = (before, held(data))
    assert asyncio.run(known.alike(asked)) == {}


def test_a_switch_of_branches_is_no_comment(tmp_path):
    modules = [tmp_path / f"m{number}.py" for number in range(40)]
    for number, path in enumerate(modules):
        path.write_bytes(b"x = %d\n" % number)
    known, before = Codes(), {str(path): held(path) for path in modules}
    asyncio.run(known.learn(before))
    for path in modules:
        path.write_bytes(path.read_bytes() + b"# more\n")
    changes = {str(path): (before[str(path)], held(path)) for path in modules}
    assert asyncio.run(known.alike(changes)) == {}
    few = dict(list(changes.items())[:3])
    assert asyncio.run(known.alike(few)) == {path: before[path] for path in few}


def test_a_module_that_comes_or_goes_has_changed(known, module):
    before = held(module)
    assert asyncio.run(known.alike({str(module): (before, None)})) == {}
    assert asyncio.run(known.alike({str(module): (None, before)})) == {}


def test_no_more_is_remembered_than_fits(monkeypatch, known, module, tmp_path):
    monkeypatch.setattr(codes, "_MOST", 1)
    other = tmp_path / "o.py"
    other.write_bytes(EDITED)
    asyncio.run(known.learn({str(other): held(other)}))
    assert after(known, module, COMMENTED) == {}
