"""
What holds for every suite: a property is judged by what it finds and never by its time.

Machines are shared and slow now and then, so there is no deadline for an example, and no
complaint about the time that drawing one takes.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from hypothesis import HealthCheck, settings

from tests.effort import FAST, THOROUGH

# The suite is dozens of processes. Where the environment says to keep no bytecode, as in many
# images, each would compile the program and its tests anew: a third of the time of all.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

patient: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("house", max_examples=FAST, **patient)
settings.register_profile("thorough", max_examples=THOROUGH, **patient)
settings.load_profile("house")
