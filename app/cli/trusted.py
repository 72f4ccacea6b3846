"""Whom a deployment trusts by its list of signers, for commands that judge what was signed earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.history.changes import Belief

if TYPE_CHECKING:
    from app.cli.deployment import Deployment


def belief_of(deployment: Deployment) -> Belief:
    """Return what is believed by the list of signers as it is now."""
    from app.adapters.signing import SIGNERS, read_signers, verify

    settings = deployment.settings
    return Belief(settings.deployment, read_signers(settings.keys_dir / SIGNERS), verify)
