from pcvctl.tree import Node, render


def plain(node, width=80, unicode=True):
    return render(node, width, color=False, unicode=unicode).splitlines()


def sample():
    root = Node("root")
    stage = root.add("llvm")
    part = stage.add("kernel.ll")
    part.add("-  old", quoted=True)
    part.add("+  new", quoted=True)
    part.add("a remark")
    stage.add("other.ll")
    root.add("locations")
    return root


def test_branches():
    assert plain(sample()) == [
        "root",
        "├ llvm",
        "│ ├ kernel.ll",
        "│ │ │ -  old",
        "│ │ │ +  new",
        "│ │ └ a remark",
        "│ └ other.ll",
        "└ locations",
    ]


def test_branches_in_ascii():
    assert plain(sample(), unicode=False)[:4] == ["root", "|- llvm", "|  |- kernel.ll", "|  |  |  -  old"]
    assert render(sample(), 80, color=False, unicode=False).isascii()


def test_quoted_lines_alone_hang_from_nothing():
    root = Node("root")
    root.add("last").add("@@ -1,1 +1,1 @@", quoted=True)
    assert plain(root) == ["root", "└ last", "    @@ -1,1 +1,1 @@"]


def test_sentences_are_wrapped_within_their_branch_and_diffs_are_cut():
    root = Node("root")
    entry = root.add("why    " + "one two three four five six seven\nsecond", hang=7)
    entry.add("-" + "x" * 100, quoted=True)
    root.add("next")
    lines = plain(root, 34)
    assert max(map(len, lines)) <= 34
    assert lines[1:4] == ["├ why    one two three four five", "│          six seven", "│        second"]
    assert lines[4].endswith("x…")


def test_nothing_in_it_drives_the_terminal():
    root = Node("a\x1b[31mb")
    root.add("c\x1b]0;d\x07", quoted=True)
    shown = render(root, 80, color=False, unicode=True)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\x1b[2mx" in render(Node("x", "2"), 80, color=True, unicode=True)
