from hypothesis import given
from hypothesis import strategies as st

from pcvctl import table
from pcvctl.table import Column


@given(st.text(max_size=60), st.integers(0, 60))
def test_shortened_fits_and_keeps_both_ends(text, width):
    text = table.clean(text)
    short = table.shortened(text, width)
    assert table.span(short) <= max(width, 0)
    if table.span(text) <= width:
        assert short == text


def test_shortened_in_the_middle():
    assert table.shortened("models/very/deep/network.py:forward", 21) == "models/ve...y:forward"


def test_wide_letters_count_twice():
    assert table.span("模型.py") == 7
    assert table.span("e\u0301") == 1


def test_columns_line_up_whatever_they_hold():
    rows = table.lines([Column("name", ["a", "模型"]), Column("n", ["1", "10"], right=True)], 80)
    assert rows == ["name   n", "a      1", "模型  10"]


def test_cells_are_shortened_before_columns_leave():
    columns = [
        Column("name", ["abcdefghijklmnopqrst"], floor=10),
        Column("first", ["1"], leaves=2),
        Column("second", ["2"], leaves=1),
    ]
    assert table.lines(columns, 25)[0].split() == ["name", "first", "second"]
    assert table.lines(columns, 20)[0].split() == ["name", "first"]
    assert table.lines(columns, 10)[0].split() == ["name"]
    assert table.lines(columns, 3)[1] == "abc...qrst"  # narrower than it can be: too wide, not cut to nothing


def test_a_column_without_content_is_left_out():
    assert table.lines([Column("a", ["x"]), Column("b", [""])], 80) == ["a", "x"]


def test_control_characters_are_spelt_out():
    assert table.clean("a\x1b[31mb\x9bc\rd\te") == "a\\x1b[31mb\\x9bc\\x0dd e"


def test_wrapped_keeps_words_whole_and_lines_apart():
    where = "some/quite/long/path/to/a/model_file.py:1234:"
    assert table.wrapped(f"{where} message\nsecond", 20, "    ") == [
        f"    {where}",
        "      message",
        "      second",
    ]


def test_painting_only_where_colour_is_wanted():
    assert table.paint("x", table.RED, False) == "x"
    assert table.paint("x", "", True) == "x"
    assert table.paint("x", table.RED, True) == "\x1b[31mx\x1b[0m"
