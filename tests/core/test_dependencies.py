"""Dependencies, against the naive model of them: a dictionary of what each reader read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.dependencies import Dependencies

PATHS = st.sampled_from(["/p/a.py", "/p/lib/b.py", "/p/lib/deep/c.py", "/p/libx.py", "/q.py"])
READERS = st.sampled_from(["f", "g", "h"])
STEPS = st.lists(
    st.tuples(READERS, st.none() | st.dictionaries(PATHS, st.none() | st.sampled_from(["1", "2"]))),
    max_size=12,
)


@given(steps=STEPS)
def test_it_answers_as_a_dictionary_of_reads_would(steps):
    kept, model = Dependencies(), {}
    for reader, reads in steps:
        if reads is None:
            kept.drop(reader)
            model.pop(reader, None)
        else:
            kept.put(reader, reads)
            model[reader] = reads
    paths = {path for reads in model.values() for path in reads}
    assert set(kept) == paths
    assert set(kept.who) == set(model)
    for path in paths:
        assert path in kept
        assert kept.readers(path) == {reader for reader, reads in model.items() if path in reads}
        assert all(kept.digest(reader, path) == model[reader][path] for reader in kept.readers(path))
    for folder in ("/p", "/p/", "/p/lib", "/p/lib/deep", "/", "/elsewhere"):
        assert kept.below(folder) == {path for path in paths if path.startswith(folder.rstrip("/") + "/")}


def test_what_nobody_read_is_not_held():
    kept = Dependencies()
    kept.put("f", {"/p/a.py": "1"})
    kept.drop("f")
    assert "/p/a.py" not in kept
    assert kept.readers("/p/a.py") == kept.below("/p") == set()
    assert vars(kept) == vars(Dependencies()) | {"version": 2}
