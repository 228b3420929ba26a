"""New names in HLO: an instruction and a computation keep apart, even where XLA gave both one name."""

from __future__ import annotations

from artifacts import NOWHERE

from pcvd.core.canonical import canonicalize


def test_a_computation_and_an_instruction_of_one_name_are_two_things():
    module = """HloModule m

%{0} (a: f32[], b: f32[]) -> f32[] {{
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}}

ENTRY %main (x: f32[4], y: f32[]) -> f32[] {{
  %x = f32[4] parameter(0)
  %y = f32[] parameter(1)
  ROOT %{1} = f32[] reduce(%x, %y), dimensions={{0}}, to_apply=%{0}, called_computations={{%{0}, %{0}}}
}}
"""
    forms = {
        canonicalize("hlo", module.format(*names).encode(), NOWHERE)[0]
        for names in (("reduce.0", "reduce.0"), ("region", "reduce.0"), ("add", "c.1"))
    }
    (form,) = forms
    assert b"to_apply=%computation.0, called_computations={%computation.0, %computation.0}" in form
    assert b"ROOT %reduce.0 = " in form
