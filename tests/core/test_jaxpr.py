"""Printed jaxprs: which equation a line belongs to, and in which order their constants are counted."""

from __future__ import annotations

from pcvd.core.jaxpr import Listing

TEXT = """\
let shared = { lambda s:f32[4]; a:f32[4]. let
    b:f32[4] = mul a s                                            # /lib/site-packages/nn.py:7:8 (scale)
  in (b,) } in
{ lambda c:f32[4] d:f32[3]; e:f32[4]. let
    f:f32[4] = jit[name=shared jaxpr=shared] e                    # /project/m.py:3:4 (f)
    g:f32[4] = while[                                             # /project/m.py:4:4 (f)
      body_jaxpr={ lambda t:f32[5]; h:f32[4]. let
          i:f32[4] = jit[name=shared jaxpr=shared] h              # /project/m.py:5:4 (f.<locals>.<lambda>)
          j:f32[4] = relu[                                        #
            jaxpr={ lambda u:f32[6]; k:f32[4]. let l:f32[4] = add k u in (l,) } #
          ] i
        in (j,) }
      cond_jaxpr={ lambda v:f32[7]; m:f32[4]. let
          n:bool[] = lt m v                                       # /project/m.py:6:4 (f.<locals>.<lambda>)
        in (n,) }
    ] c f
  in (g, d) }"""


def line(start: str) -> int:
    (found,) = (n for n, text in enumerate(TEXT.splitlines()) if text.lstrip().startswith(start))
    return found


def place(start: str) -> tuple[str | None, int | None]:
    equation = Listing(TEXT).equation(line(start), "/project")
    assert equation is not None
    return equation.file, equation.line


def test_an_equation_has_its_own_line():
    assert place("f:f32") == ("m.py", 3)
    assert place("i:f32") == ("m.py", 5)


def test_what_closes_an_equation_belongs_to_it():
    assert place("] c f") == ("m.py", 4)
    assert place("body_jaxpr") == ("m.py", 4)
    assert place("in (n,) }") == ("m.py", 4)


def test_an_equation_of_jaxs_own_is_where_the_one_around_it_is():
    assert place("j:f32") == ("m.py", 4)
    assert place("jaxpr={") == ("m.py", 4)


def test_a_shared_jaxpr_is_where_it_is_applied_first():
    equation = Listing(TEXT).equation(line("b:f32"), "/project")
    assert (equation.file, equation.line, equation.within) == ("m.py", 3, "scale")


def test_the_head_belongs_to_no_equation():
    assert Listing(TEXT).equation(line("{ lambda c"), "/project") is None


def test_colours_are_no_text():
    coloured = TEXT.replace("jit[", "\x1b[35m\x1b[1mjit\x1b[22m\x1b[39m[")
    assert [one.code for one in Listing(coloured).lines] == [one.code for one in Listing(TEXT).lines]


def test_constants_are_counted_where_they_are_applied():
    listing = Listing(TEXT)
    found = [listing.constant(number) for number in range(8)]
    # The jaxpr's own; of the shared one; of the loop, its condition first; of the shared one again, and so
    # on.
    assert [one and one[:2] for one in found] == [
        ("c", "f32[4]"),
        ("d", "f32[3]"),
        ("s", "f32[4]"),
        ("v", "f32[7]"),
        ("t", "f32[5]"),
        ("s", "f32[4]"),
        ("u", "f32[6]"),
        None,
    ]
    used = {one[0]: one[2] for one in found if one is not None}
    assert used["c"] == line("] c f")
    assert used["v"] == line("n:bool")
    assert used["u"] == line("jaxpr={")
    assert used["d"] == line("in (g, d)")


def test_jaxprs_that_apply_each_other_end():
    text = """\
let one = { lambda a:f32[]; b:f32[]. let c:f32[] = jit[name=two jaxpr=two] b in (c,) } in
let two = { lambda ; b:f32[]. let c:f32[] = jit[name=one jaxpr=one] b in (c,) } in
{ lambda ; b:f32[]. let
    c:f32[] = jit[name=one jaxpr=one] b
  in (c,) }"""
    listing = Listing(text)
    for number in range(len(listing.lines)):
        listing.equation(number, "/project")
    assert listing.constant(0) is not None
    assert listing.constant(9) is None


def test_many_applications_of_many_are_not_counted_one_by_one():
    # Each of forty jaxprs applies the next one twice.
    shared = "\n".join(
        f"let f{n} = {{ lambda ; b:f32[]. let c:f32[] = jit[jaxpr=f{n + 1}] b\n"
        f"    d:f32[] = jit[jaxpr=f{n + 1}] c in (d,) }} in"
        for n in range(40)
    )
    last = "let f40 = { lambda k:f32[]; b:f32[]. let c:f32[] = add b k in (c,) } in"
    listing = Listing(
        f"{shared}\n{last}\n{{ lambda ; b:f32[]. let\n    c:f32[] = jit[jaxpr=f0] b\n  in (c,) }}"
    )
    found = listing.constant(2**40 - 1)
    assert found is not None
    assert found[0] == "k"
    assert listing.constant(2**40) is None
