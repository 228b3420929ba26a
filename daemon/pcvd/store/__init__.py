"""What pcv remembers: targets, rounds, builds, artifacts' digests and verdicts, in one SQLite file."""

from pcvd.store.records import HistoryRow, RoundRecord, Standing
from pcvd.store.store import Store

__all__ = ["HistoryRow", "RoundRecord", "Standing", "Store"]
