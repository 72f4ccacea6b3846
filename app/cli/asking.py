"""Sends the commands that a person asks for, each signed with that person's key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from app.cli.approve import approver_key
from app.core.signing import signed_form
from app.topics import REPAIRS

if TYPE_CHECKING:
    from app.cli.deployment import Deployment
    from app.core.command import RepairCommand


def send_asked_for(deployment: Deployment, commands: Iterable[RepairCommand]) -> str:
    """Sign and send the commands in order, each under its target's token; return who did."""
    from app.adapters.kafka import KafkaClients

    key, person = approver_key(deployment.settings)
    name = deployment.settings.deployment
    sink = KafkaClients.of(deployment.settings).producer(deployment.client)
    for each in commands:
        store = deployment.settings.stores.get(each.target)
        named = replace(each, key_id=key.key_id, fence_token=store.fence_token if store else 0)
        signed = replace(named, signature=key.sign(signed_form(name, named)))
        sink.send(REPAIRS.name(name), signed.partition, signed.command_id, deployment.codec.command(signed))
    sink.flush()
    return person
