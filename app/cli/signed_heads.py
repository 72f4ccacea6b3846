"""Heads of ledgers and topics in a file that an approver signs: written by an audit, held against by later ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.output import safe_text
from app.cli.trusted import belief_of
from app.codec.heads_file import file_of, heads_of
from app.codec.rendering import wall_text
from app.core.errors import ContractViolation
from app.core.heads import ChainEnd, Heads
from app.core.signing import signed_form
from app.core.trust import SignerRole, distrust

if TYPE_CHECKING:
    from app.adapters.signing import SigningKey
    from app.cli.deployment import Deployment

_HINT = "is the key's line still in the list of signers, and was it trusted then?"


def read_heads(deployment: Deployment, path: Path) -> Heads:
    """Return the heads of a file, and say of when and whose they are; `ContractViolation` if no approver has signed."""
    heads = heads_of(deployment.settings.deployment, path.read_bytes())
    person = _believed(deployment, heads, path)
    what = f"{len(heads.chains)} chains and {len(heads.topics)} partitions of topics"
    click.echo(f"against {path}: {what} as of {wall_text(heads.at_ms)}, signed by {safe_text(person)}", err=True)
    return heads


def write_heads(
    deployment: Deployment,
    path: Path,
    key: SigningKey,
    chains: Iterable[ChainEnd],
    ends: Mapping[tuple[str, int], int],
    ids: Mapping[str, str],
) -> None:
    """Sign where ledgers and topics end with this person's key, and write it, all or nothing.

    `ContractViolation` where nobody would believe it later.
    """
    from app.adapters.system_clock import wall_ms

    topics = tuple((topic, ids[topic], partition, offset) for (topic, partition), offset in sorted(ends.items()))
    heads = Heads(wall_ms(), tuple(sorted(chains)), topics, key.key_id)
    heads = replace(heads, signature=key.sign(signed_form(deployment.settings.deployment, heads)))
    _believed(deployment, heads, path)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_bytes(file_of(deployment.settings.deployment, heads))
    fresh.replace(path)
    click.echo(f"written: {path}; keep it where nobody reaches who administers a target or Kafka", err=True)


def _believed(deployment: Deployment, heads: Heads, path: Path) -> str:
    """Return who has signed, by the list of signers and the time that the heads name."""
    belief = belief_of(deployment)
    # As of then: a key whose time is over since was trusted when it signed.
    name, role = deployment.settings.deployment, SignerRole.APPROVER
    doubt = distrust(belief.signers, belief.verify, role, name, heads, now_wall_ms=heads.at_ms)
    if doubt is not None:
        raise ContractViolation(f"these heads are not believed: {doubt.value}", where=str(path), hint=_HINT)
    return belief.person(heads.key_id)
