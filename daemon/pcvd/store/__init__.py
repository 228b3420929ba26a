"""What pcv remembers: targets, rounds, builds, artifacts' digests and verdicts, in one SQLite file."""

from pcvd.store.database import StoreGone
from pcvd.store.records import Discovered, RoundRecord, Standing, VerdictRecord
from pcvd.store.store import Store

__all__ = ["Discovered", "RoundRecord", "Standing", "Store", "StoreGone", "VerdictRecord"]
