"""A cut as text, DOT and SVG: from its JSON alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from pcvctl import dot, parts, svg
from pcvctl.cut import Cut, label, size

SVG = "{http://www.w3.org/2000/svg}"


def kernel(name, equations, **more):
    return {"name": name, "function": "", "file": None, "line": None, "equations": equations} | more


def edge(giver, taker, count):
    return {"from": giver, "to": taker, "values": 1, "bytes": count}


def layers(count=3):
    """First, `count` layers, the loss, `count` layers backward: each of those needs its layer's residuals."""
    order = [0, *[1] * count, 2, *[3] * count]
    last = len(order) - 1
    chain = [edge(step, step + 1, 1000) for step in range(last)]
    residuals = [edge(1 + layer, last - layer, 4_000_000) for layer in range(count - 1)]
    return {
        "schema": 1,
        "policy": "auto",
        "kernels": [
            kernel("kernel_0", 3, file="model.py", line=7),
            kernel("kernel_1", 90, function="block", file="model.py", line=9),
            kernel("kernel_2", 12),
            kernel("kernel_3", 110, function="block", file="model.py", line=9),
        ],
        "steps": [{"kernel": one, "result_bytes": 8 * (one == 3)} for one in order],
        "edges": chain + residuals,
        "boundary_bytes": 8_006_000,
        "peak_bytes": 9_123_456,
        "notes": ["2 cuts taken back: a token"],
    }


TEXT = """\
8 kernels (auto), 4 distinct; 8.01 MB between them, at most 9.12 MB at one time

kernel  uses  equations  feeds                 where
A          1          3  B 1 kB                model.py:7
B          3         90  B 2 kB, C 1 kB, D 8 MB  model.py:9 block
C          1         12  D 1 kB                kernel_2
D          3        110  D 2 kB, results       model.py:9 block

order: A, 3 B, C, 3 D
note: 2 cuts taken back: a token
"""


def squeezed(text):
    return re.sub(" +", " ", text)


def test_a_table_tells_kernels_sizes_who_feeds_whom_and_which_are_shared():
    assert squeezed(parts.render(layers(), 100)) == squeezed(TEXT)


def test_the_table_is_no_wider_than_its_terminal():
    deep = layers()
    deep["kernels"][1]["file"] = "a/very/long/way/" * 8 + "model.py"
    assert max(map(len, parts.render(deep, 60).splitlines())) <= 60


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([0], "A"),
        ([0, 1, 2], "A, B, C"),
        ([0, 0, 0, 1], "3 A, B"),
        ([0, 1, 0, 1, 0, 1, 2], "3 (A B), C"),
        ([2, 0, 0, 1, 0, 0, 1], "C, 2 (A A B)"),
        ([], ""),
    ],
)
def test_the_order_tells_once_what_repeats(steps, told):
    document = {
        "kernels": [kernel(str(one), 1) for one in range(3)],
        "steps": [{"kernel": one} for one in steps],
    }
    assert Cut.of(document).order == told


def test_labels_and_sizes():
    assert [label(place) for place in (0, 25, 26, 51, 52, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AZ",
        "BA",
        "ZZ",
        "AAA",
    ]
    assert list(map(size, (0, 999, 1000, 2_500_000, 10**9))) == ["0 B", "999 B", "1 kB", "2.5 MB", "1 GB"]


def test_dot_has_a_node_a_step_and_an_arrow_a_feed():
    lines = dot.render(layers()).splitlines()
    nodes = dict(re.findall(r'^  (step\d+) \[label=.*fillcolor="(#\w+)"\];$', "\n".join(lines), re.MULTILINE))
    assert list(nodes) == [f"step{place}" for place in range(8)]
    assert nodes["step1"] == nodes["step2"] != nodes["step5"] == nodes["step7"]
    assert nodes["step0"] == nodes["step4"]  # used once
    assert '  step1 -> step7 [label="4 MB"];' in lines
    assert sum(" -> step" in line for line in lines) == 9
    assert [line for line in lines if "-> results" in line] == [
        f"  step{place} -> results;" for place in (5, 6, 7)
    ]


def test_the_picture_holds_every_step_and_feed_in_its_frame():
    picture = ET.fromstring(svg.render(layers()))
    steps = picture.findall(f"{SVG}rect[@class='step']")
    feeds = picture.findall(f"{SVG}path[@class='feed']")
    assert (len(steps), len(feeds)) == (8, 9)
    tops = [float(one.get("y")) for one in steps]
    assert tops == sorted(set(tops))
    lengths = [float(one.get("width")) for one in steps]
    assert lengths[5] > lengths[1] > lengths[4] > lengths[0]  # as equations
    width, height = float(picture.get("width")), float(picture.get("height"))
    for one in (*picture.iter(f"{SVG}rect"), *picture.iter(f"{SVG}text")):
        assert 0 <= float(one.get("x", "0")) < width
        assert 0 <= float(one.get("y", "0")) < height
    told = [one.findtext(f"{SVG}title") for one in feeds]
    assert "step 2 to step 8: 1 value, 4 MB" in told


def test_arcs_lie_inside_of_the_picture_and_of_longer_ones():
    feeds = ET.fromstring(svg.render(layers(12))).findall(f"{SVG}path[@class='feed']")
    curves = [list(map(float, re.findall(r"[\d.]+", one.get("d")))) for one in feeds if "C" in one.get("d")]
    reach = [(bottom - top, (x + 3 * far) / 4) for x, top, far, _, _, _, _, bottom in curves]
    assert len(reach) == 11
    assert reach == sorted(reach, reverse=True)
    assert max(far for _, far in reach) < float(ET.fromstring(svg.render(layers(12))).get("width"))


HOSTILE = '<b>"x" & \\N\n\x1b[31m\x00\ufffe\udc80</b>'


def test_hostile_names_stay_names():
    document = layers()
    document["kernels"][1] |= {"function": HOSTILE, "file": HOSTILE}
    document["notes"] = [HOSTILE]
    picture = ET.fromstring(svg.render(document).encode())
    assert not picture.findall(f".//{SVG}b")
    assert any("<b>" in (one.text or "") for one in picture.iter(f"{SVG}text"))
    text = parts.render(document, 200)
    assert "\x1b" not in text
    assert "\x00" not in text
    for line in dot.render(document).splitlines():
        bare = re.sub(r"\\.", "", line)
        assert bare.count('"') % 2 == 0, line
        assert "\x1b" not in line


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"kernels": 3, "steps": "x", "edges": None, "notes": [1]},
        {
            "kernels": [None],
            "steps": [None, {"kernel": 5}, {"kernel": True}, {"kernel": 0}],
            "edges": [None, {"from": 0}],
        },
        {"kernels": [kernel("k", -5)], "steps": [{"kernel": 0}] * 2, "edges": [edge(1, 0, 1), edge(0, 7, 1)]},
    ],
)
def test_what_is_not_as_it_should_be_counts_as_missing(document):
    assert parts.render(document, 80).endswith("\n")
    assert dot.render(document).startswith("digraph")
    ET.fromstring(svg.render(document))


def test_what_feeds_a_step_that_is_not_there_is_left_out():
    document = layers(2)
    document["steps"][0]["kernel"] = 99
    cut = Cut.of(document)
    assert cut.steps == (1, 1, 2, 3, 3)
    assert [(one.giver, one.taker) for one in cut.feeds] == [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]


def test_colour_is_only_where_it_is_wanted():
    assert "\x1b[" in parts.render(layers(), 100, color=True)
    assert "\x1b[" not in parts.render(layers(), 100)
