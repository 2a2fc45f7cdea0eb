"""
What holds for every suite: a property is judged by what it finds and never by its time.

Machines are shared and slow now and then, so there is no deadline for an example, and no
complaint about the time that drawing one takes.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
