"""Opens the sealed keys of findings, for people who hold the deployment's seal key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.core.canonical_key import decode_key
from app.core.contract import EntityContract
from app.core.errors import ContractViolation, Undecodable
from app.core.published import PublishedFinding
from app.declared.fault import Refused

if TYPE_CHECKING:
    from app.cli.deployment import Deployment


def contracts_of(deployment: Deployment) -> dict[str, EntityContract]:
    """Return the deployment's contracts by entity."""
    from app.codec.contract_file import load_contracts

    return {c.entity: c for c in load_contracts(deployment.settings.contracts_dir, deployment.settings)}


def contracts_if_any(deployment: Deployment) -> dict[str, EntityContract] | None:
    """Return the deployment's contracts by entity, None where there are none that can be read."""
    try:
        return contracts_of(deployment)
    except Refused:
        return None


def contract_about(deployment: Deployment, entity: str) -> EntityContract:
    """Return the contract about an entity; `ContractViolation` names those that there are."""
    contracts = contracts_of(deployment)
    if entity in contracts:
        return contracts[entity]
    raise ContractViolation(f"no contract is about {entity!r}", hint=f"there are: {', '.join(contracts)}")


def sealed_key_opener(deployment: Deployment) -> Callable[[str, bytes], str]:
    """Return what shows the sealed key of an entity's row, or a group, as text; empty where it cannot be opened."""
    from app.adapters.seal import KeySeals
    from app.codec.aggregates import group_text, is_figures, read_figures

    contracts = contracts_of(deployment)
    seals = KeySeals.from_folder(deployment.settings.keys_dir)

    def opened(entity: str, sealed_key: bytes) -> str:
        contract = contracts.get(entity)
        if contract is None or not sealed_key:
            return ""
        try:
            plain = seals.open_key(entity, sealed_key)
            if is_figures(plain):
                return group_text(read_figures(plain))
            values = decode_key(contract, plain)
        except Undecodable:
            return ""
        parts = [value.hex() if isinstance(value, bytes) else str(value) for value in values]
        if len(parts) == 1:
            return parts[0]
        return ", ".join(f"{part.name}={text}" for part, text in zip(contract.key, parts, strict=True))

    return opened


def key_opener(deployment: Deployment) -> Callable[[PublishedFinding], str]:
    """Return what shows a finding's key as text; empty where it cannot be opened, or for an incident."""
    opened = sealed_key_opener(deployment)
    return lambda found: "" if found.finding.incident_rows else opened(found.finding.entity, found.sealed_key)


def hash_of_key(deployment: Deployment, entity: str, text: str) -> bytes:
    """Return the keyed hash by which topics name the row that a person's words name; needs `digest.key`."""
    from app.adapters.seal import read_key
    from app.cli.key_history import canonical_key, key_values
    from app.core.digest import keyed_hash

    contract = contract_about(deployment, entity)
    digest_key = read_key(deployment.settings.keys_dir / "digest.key")
    kind = deployment.settings.stores[contract.authority].kind
    key = canonical_key(contract, key_values(contract, text), kind, digest_key)
    return keyed_hash(digest_key, contract.number, key)
