"""Object files through a disassembler, which is another program: it may be missing, fail or hang."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from pcvd.core.builds import Part
from pcvd.core.model import digest
from pcvd.inquiry import disassembly
from pcvd.inquiry.disassembly import NoDisassembly
from pcvd.inquiry.reader import Reader, Unreadable

ONE = 'int f(int x) { return x + 1; } const char *const text = "one";'
TWO = 'int f(int x) { return x + 2; } const char *const text = "one";'
DATA = 'int f(int x) { return x + 1; } const char *const text = "two";'


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """The only programs on PATH: shell scripts of the given names and bodies."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def install(**scripts):
        for name, body in scripts.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{body}\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install


@pytest.fixture
def compiled(tmp_path):
    """Compile a piece of C into an object file; its bytes."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not (shutil.which("objdump") or shutil.which("llvm-objdump")):
        pytest.skip("no C compiler or no disassembler here")

    def compile_(text):
        source = tmp_path / "one.c"
        source.write_text(text)
        subprocess.run([compiler, "-c", "-O1", str(source), "-o", str(tmp_path / "one.o")], check=True)
        return (tmp_path / "one.o").read_bytes()

    return compile_


def test_instructions_without_addresses(compiled):
    lines = disassembly.code("one.o", compiled(ONE))
    assert any(line.strip().startswith(("lea", "add", "ret")) for line in lines)
    assert not any(line.lstrip().startswith("0:") for line in lines)
    assert "<f>:" in lines


def test_one_instruction_that_differs_is_a_small_difference(compiled, blobs):
    left, right = (part(blobs, compiled(text)) for text in (ONE, TWO))
    delta, remarks = Reader(blobs).delta("object", left, right)
    assert (delta.removed, delta.added, remarks) == (1, 1, [])


def test_where_the_instructions_are_equal_the_data_is_compared(compiled, blobs):
    left, right = (part(blobs, compiled(text)) for text in (ONE, DATA))
    delta, remarks = Reader(blobs).delta("object", left, right)
    assert delta.blocks
    assert "instructions are equal" in remarks[0]


def test_without_a_disassembler_sizes_and_digests_remain(tools, blobs):
    tools()
    with pytest.raises(
        Unreadable, match=r"8 and 9 bytes; no disassembler is installed \(objdump or llvm-objdump\)"
    ):
        Reader(blobs).delta("object", part(blobs, b"\x7fELFaaaa"), part(blobs, b"\x7fELFaaaab"))


def test_one_that_fails_says_why_and_the_next_is_tried(tools):
    tools(objdump="echo 'object: file format not recognized' >&2; exit 1")
    with pytest.raises(NoDisassembly, match="objdump failed: object: file format not recognized"):
        disassembly.code("one.o", b"\x7fELF")
    tools(llvm_objdump="echo '0000 <f>:'; echo '  10: ret'")
    assert disassembly.code("one.o", b"\x7fELF") == ["<f>:", "  ret"]


def test_one_that_hangs_is_ended(tools, monkeypatch):
    monkeypatch.setattr(disassembly, "_PATIENCE_S", 0.2)
    tools(objdump=f"exec {shutil.which('sleep')} 600")
    with pytest.raises(NoDisassembly, match="was not done"):
        disassembly.code("one.o", b"\x7fELF")


def test_it_leaves_nothing_behind(tools, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    tools(objdump="exit 3")
    with pytest.raises(NoDisassembly, match="exit status 3"):
        disassembly.code("one.o", b"")
    assert list(scratch.iterdir()) == []


def test_what_prints_no_utf8_is_shown_all_the_same(tools):
    tools(objdump=r"printf 'nop \377\n'")
    assert disassembly.code("one.o", b"") == ["nop \ufffd"]


def test_a_gpu_binary_goes_to_its_own_tool(tools):
    tools(objdump="echo wrong", nvdisasm="echo IADD")
    assert disassembly.code("one.cubin", b"") == ["IADD"]


def part(blobs, data):
    """A stored object file."""
    blobs.put(data)
    return Part("one.o", digest(data), digest(data), len(data))


@pytest.fixture
def blobs(tmp_path):
    from pcvd.blobs import Blobs

    Path(tmp_path, "objects").mkdir()
    return Blobs(str(tmp_path / "objects"))


def test_a_gpu_binarys_sections_are_shown_by_what_reads_any(tools):
    tools(objdump="echo sections", nvdisasm="echo wrong")
    assert disassembly.contents("one.cubin", b"") == ["sections"]
    tools(nvdisasm="echo wrong")
    Path(os.environ["PATH"], "objdump").unlink()
    with pytest.raises(NoDisassembly, match=r"no disassembler is installed \(objdump or llvm-objdump\)"):
        disassembly.contents("one.cubin", b"")


def test_a_tool_that_prints_without_end_is_ended_with_what_it_started(
    tools, monkeypatch, tmp_path, eventually
):
    monkeypatch.setattr(disassembly, "_LARGEST", 1 << 16)
    mark = tmp_path / "pid"
    yes = shutil.which("yes")
    tools(objdump=f"{yes} ffffffff & echo $! > {mark}; wait")
    with pytest.raises(NoDisassembly, match="more than can be compared"):
        disassembly.code("one.o", b"object")
    pid = int(mark.read_text())
    gone = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    eventually(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() in gone, "what it started is ended"
    )
