"""The environment variables that this process was given. JAX sets some when it is imported, and models may:
what they set is nothing that can change outside.
"""

from __future__ import annotations

import os
from types import MappingProxyType

VARIABLES = MappingProxyType(dict(os.environb))
"""As they were when this module was imported: a zygote does that first of all."""
