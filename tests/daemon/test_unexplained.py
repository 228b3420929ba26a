"""A daemon that ends before it knows what a difference comes from goes on when it starts again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

DRAWN = "drawn.py:model"


@pytest.fixture
def project(new_project):
    made = new_project(
        {
            "pcv.toml": 'platform = "cpu"\nschedules = ["serial", "threads:2"]\nsoak = false\n',
            "drawn.py": """
                import numpy as np
                import pcv

                @pcv.target("f32[4]")
                def model(x):
                    return x + np.random.rand(4).astype(np.float32)
            """,
        }
    )
    yield made
    made.end()


def test_a_search_that_was_broken_off_is_resumed(project):
    project.start()
    assert project.json("wait", code=1)["targets"][0]["verdict"] == "unstable"
    before = project.json("explain", DRAWN)
    project.pcvctl("stop")
    rounds = project.rounds()
    # As it is left by a daemon that ends right after the verdict.
    with closing(sqlite3.connect(project.path(".pcv/pcv.sqlite"))) as records, records:
        detail = json.loads(records.execute("SELECT detail FROM verdicts ORDER BY id DESC").fetchone()[0])
        assert detail["cause"]["evidence"]
        detail["cause"] = {"kind": "process", "headline": "not looked into"}
        records.execute(
            "UPDATE verdicts SET detail = ? WHERE id = (SELECT max(id) FROM verdicts)", [json.dumps(detail)]
        )
    project.start()
    assert project.json("explain", DRAWN)["cause"]["kind"] == before["cause"]["kind"] == "random"
    (target,) = project.json("status", code=1)["targets"]
    assert (target["cause"]["kind"], bool(target["cause"]["evidence"])) == ("random", True)
    assert project.rounds() == rounds  # nothing was judged again for it
