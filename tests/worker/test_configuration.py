"""The configuration stands still while models are traced."""

from __future__ import annotations

CHANGING = """
    import jax

    def model(x):
        jax.config.update("jax_default_matmul_precision", "float32")
        return x @ x
"""
STILL = """
    import jax

    jax.config.update("jax_numpy_rank_promotion", "warn")

    def model(x):
        jax.config.update("jax_numpy_rank_promotion", "warn")
        with jax.default_matmul_precision("float32"):
            return x @ x
"""
SETTINGS = """
    platform = "cpu"
    schedules = ["serial", "threads:2"]

    [[target]]
    entry = "changing.py:model"
    args = ["f32[4,4]"]

    [[target]]
    entry = "still.py:model"
    args = ["f32[4,4]"]
"""


def test_who_changes_it_while_traced_is_named_and_nobody_else_suffers(new_project):
    project = new_project({"pcv.toml": SETTINGS, "changing.py": CHANGING, "still.py": STILL})
    document = project.json("check", code=3)
    changing, still = sorted(document["targets"], key=lambda one: one["target"])
    assert (changing["verdict"], still["verdict"]) == ("inconclusive", "agree")
    assert "jax_default_matmul_precision is set to 'float32' while the model is traced" in changing["reason"]
    assert "changing.py:5" in changing["reason"]
