"""A deployment with proposals, at which people sit down in turn, with its topics in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.kafka import MemorySink
from app.adapters.seal import KeySeals, make_key
from app.adapters.signing import SIGNERS, SigningKey, make_signing_key, signer_line, trust
from app.codec.contract_file import load_contracts
from app.core.canonical_key import key_writer
from app.core.command import Action, Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand, command_id
from app.core.contract import FieldKind, FieldType
from app.core.rehearsal import Rehearsal, Touched
from app.core.signing import member_of
from app.core.trust import SignerRole
from app.topics import APPROVALS, OUTCOMES, REHEARSALS, REPAIRS
from tests.signatures import signed
from tests.unit.cli.reading_world import CODEC, NOW_MS, World

CONTRACT = """\
entity: orders
version: 1
authority: {{store: pg, table: public.orders}}
replicas:
  - store: my
    table: shop.orders
    window_ms: 10000
    repair: {{mode: propose, deletes: true, persons: {persons}, rehearsal: {rehearsal}}}
key:
  id: {{type: int64}}
fields:
  status: {{type: string}}
"""


class Desk(World):
    """A deployment with proposals, at which people sit down in turn."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.keys = folder / "keys"
        self.contracts = folder / "contracts"
        self.contracts.mkdir()
        self.keys.mkdir()
        self.ask_for(persons=1)
        for name in ("seal.key", "ledger.key"):
            make_key(self.keys / name)
        self.seals = KeySeals.from_folder(self.keys)
        self.planner = self.trusted("planner.key", SignerRole.PLANNER, "worker")
        self.sit_down("anna")
        self.sink = MemorySink()
        self.rows = 0
        monkeypatch.setattr("app.adapters.kafka.KafkaClients.producer", lambda *_: self.sink)
        monkeypatch.setattr("app.cli.invocation.Invocation.settings", lambda _: self.settings)

    def ask_for(self, persons: int, rehearsal: str = "optional") -> None:
        """Let the policy ask for so many persons, and for a rehearsal."""
        (self.contracts / "orders.yaml").write_text(CONTRACT.format(persons=persons, rehearsal=rehearsal))
        load_contracts(self.contracts, self.settings)

    def trusted(self, name: str, role: SignerRole, person: str) -> SigningKey:
        """Make a key that the deployment trusts."""
        return make_signing_key(
            self.keys / name, lambda key: trust(self.keys / SIGNERS, signer_line(role, person, key.public_key))
        )

    def sit_down(self, person: str) -> SigningKey:
        """Let another person's key be the one that signs here."""
        return self.trusted("approver.key", SignerRole.APPROVER, person)

    def propose(self, **changes: object) -> RepairCommand:
        """Put a signed proposal onto its topic: the delete of a row of its own."""
        self.rows += 1
        key = key_writer(FieldType(FieldKind.INT64))(self.rows)
        made = RepairCommand(
            command_id=b"",
            finding_id=self.rows.to_bytes(16, "big"),
            incident_id=b"",
            entity="orders",
            contract_version=1,
            authority="pg",
            target="my",
            action=Action.DELETE,
            kind="extra",
            sealed_key=self.seals.seal_key("orders", key),
            key_hash=b"h" * 16,
            partition=self.rows % 2,
            expected_digest=b"e" * 16,
            intended_digest=b"",
            authority_position=b"",
            needs_approval=True,
            reason="deletes wait for a person",
            expires_at_ms=NOW_MS + 3_600_000,
            fence_token=0,
            trace_id=b"",
            planned_at_ms=NOW_MS - 120_000,
        )
        made = replace(made, **changes)  # type: ignore[arg-type]  # by name
        named = command_id(made.finding_id, made.target, made.expected_digest, made.intended_digest)
        made = signed(replace(made, command_id=named), self.planner, "shop")
        self.put(REPAIRS, CODEC.command(made))
        return made

    def hear(self, word: Approval) -> None:
        """Put a word onto its topic."""
        self.put(APPROVALS, CODEC.approval(word))

    def end(self, command: RepairCommand, outcome: Outcome, reason: RefusalReason | None = None) -> None:
        """Put an outcome onto its topic."""
        what = CommandOutcome(command.command_id, b"", "orders", "my", outcome, reason, 0, "", 0, b"", "")
        self.put(OUTCOMES, CODEC.outcome(what))

    def show(
        self, command: RepairCommand, reason: RefusalReason | None = None, at_ms: int = NOW_MS, *, batch: bytes = b""
    ) -> None:
        """Put what came of trying a command onto its topic."""
        touched = () if reason else (Touched("shop.orders", deleted=1), Touched("shop.lines", deleted=2, through="fk"))
        content = member_of("shop", command)[16:]
        self.put(
            REHEARSALS,
            CODEC.rehearsal(
                Rehearsal(batch, command.command_id, content, "orders", "my", reason, "", touched, False, 0, at_ms, b"")
            ),
        )

    def said(self) -> list[Approval]:
        """Return the words that were sent and acknowledged, each once."""
        sent = [r for r in self.sink.sent[: self.sink.flushed] if r.topic == APPROVALS.name("shop")]
        return list(dict.fromkeys(CODEC.read_approval(r.value) for r in sent))
