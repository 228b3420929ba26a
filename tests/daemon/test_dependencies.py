"""One daemon, and targets that depend on more than the files they open: each save concerns whoever it may."""

from __future__ import annotations

import shutil

import pytest

SETTINGS = """
    platform = "cpu"
    schedules = ["serial", "threads:2"]
    timeout_s = 60
    paths = [".", "lib"]
"""

FILES = {
    "lib/pk.py": "VALUE = 1.0\n",
    "data/one.txt": "1",
    "models/importing.py": "import pk\n\ndef model(x):\n    return x * pk.VALUE\n",
    "models/listing.py": """
        import os
        DATA = os.path.join(os.path.dirname(__file__), "..", "data")

        def model(x):
            return x * len([name for name in os.listdir(DATA) if name.endswith(".txt")])
    """,
    "models/looking.py": """
        from pathlib import Path

        def model(x):
            return x * (2 if Path(__file__).parent.with_name("extra").is_dir() else 1)
    """,
    "models/running.py": """
        import subprocess
        from pathlib import Path

        def model(x):
            # Whatever else it read would not be known either.
            factor = Path(__file__).with_name("factor")
            return x * float(subprocess.run(["cat", factor], capture_output=True, check=True).stdout)
    """,
    "models/factor": "3.0",
    "models/plain.py": "def model(x):\n    return x + 1\n",
}
NAMES = ("importing", "listing", "looking", "plain", "running")


@pytest.fixture(scope="module")
def project(new_project, fresh):
    targets = [f'[[target]]\nentry = "models/{name}.py:model"\nargs = ["f32[4]"]' for name in NAMES]
    made = new_project(FILES)
    made.write("pcv.toml", "\n".join([*(line.strip() for line in SETTINGS.splitlines()), *targets]))
    made.start()
    fresh(made)
    yield made
    made.end()


@pytest.fixture
def rebuilt(project, after):
    """Have something done to the files; the models that were judged again, all of which agree."""

    def change(do, *expected):
        wanted, before = {f"models/{name}.py:model" for name in expected}, moments(project.json("status"))

        def judged(document):
            return {entry for entry, at in moments(document).items() if at != before[entry]}

        def holds(one):
            idle = one["daemon"]["state"] == "idle" and all(target["fresh"] for target in one["targets"])
            return idle and wanted <= judged(one)

        with after(project, holds) as seen:
            do()
        assert {target["verdict"] for target in seen[-1]["targets"]} == {"agree"}
        assert judged(seen[-1]) == wanted

    return change


def moments(document):
    """When each target was judged, or its verdict found to stand."""
    return {one["target"]: one["checked_at"] for one in document["targets"]}


def test_a_module_that_shadows_an_imported_one(project, rebuilt):
    rebuilt(lambda: project.write("pk.py", "VALUE = 2.0\n"), "importing", "running")
    rebuilt(project.path("pk.py").unlink, "importing", "running")


def test_a_package_that_shadows_an_imported_module(project, rebuilt):
    rebuilt(lambda: project.write("lib/pk/__init__.py", "VALUE = 4.0\n"), "importing", "running")
    rebuilt(lambda: shutil.rmtree(project.path("lib", "pk")), "importing", "running")


def test_a_new_file_in_a_folder_that_was_listed(project, rebuilt):
    rebuilt(lambda: project.write("data/two.txt", "2"), "listing", "running")
    rebuilt(project.path("data", "two.txt").unlink, "listing", "running")


def test_a_listed_folder_that_moves_away_and_back(project, rebuilt):
    # With its contents, of which the watcher says nothing.
    def swap():
        project.path("data").rename(project.path("put-aside"))
        project.write("data/three.txt", "3")
        project.write("data/four.txt", "4")

    rebuilt(swap, "listing", "running")


def test_a_folder_that_was_looked_for_in_vain(project, rebuilt):
    rebuilt(lambda: project.write("extra/something", ""), "looking", "running")
    rebuilt(lambda: project.write("extra/more", ""), "running")  # the folder is there, and that is all
    rebuilt(lambda: project.path("extra").rename(project.path("other")), "looking", "running")


def test_any_file_where_a_program_ran(project, rebuilt):
    rebuilt(lambda: project.write("models/factor", "5.0"), "running")
    rebuilt(lambda: project.write("new.txt", ""), "running")


def test_nothing_is_built_over_and_over(project, fresh):
    rounds = len(project.rounds())
    project.json("check", code=0)
    assert [set(cohort) for _, cohort in project.rounds()[rounds:]] == [
        {f"models/{name}.py:model" for name in NAMES}
    ]
    fresh(project)
    assert len(project.rounds()) == rounds + 1


def test_what_happened_while_no_daemon_ran_is_found(project, fresh):
    before = moments(fresh(project))
    project.pcvctl("stop")
    project.start()
    assert moments(fresh(project)) == before  # nothing happened, not even for the program that ran
    project.pcvctl("stop")
    project.write("pk.py", "VALUE = 3.0\n")
    project.write("data/five.txt", "")
    project.start()
    judged = {entry for entry, at in moments(fresh(project)).items() if at != before[entry]}
    assert judged == {f"models/{name}.py:model" for name in ("importing", "listing", "running")}
