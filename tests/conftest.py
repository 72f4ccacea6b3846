"""Hypothesis without a limit of time per example: what is slow on a busy machine is not wrong."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
