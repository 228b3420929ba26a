from __future__ import annotations

from hypothesis import settings

# A busy machine may take a second over what takes a millisecond: durations prove nothing here.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
