"""What pcv remembers: targets, rounds, builds, artifacts' digests and verdicts, in one SQLite file."""

from pcvd.store.database import StoreGone
from pcvd.store.records import RoundRecord, Standing, VerdictRecord
from pcvd.store.store import Store

__all__ = ["RoundRecord", "Standing", "Store", "StoreGone", "VerdictRecord"]
