from __future__ import annotations

from hypothesis import Phase, settings

# A busy machine may take a second over what takes a millisecond, so durations prove nothing here; and
# explaining a failure takes longer than all tests together.
settings.register_profile(
    "core", deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
)
settings.load_profile("core")
