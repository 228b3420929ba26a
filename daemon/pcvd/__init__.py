"""pcvd, the daemon: builds what a save touched serially and concurrently, compares, remembers, answers."""

__version__ = "0.1.0"
