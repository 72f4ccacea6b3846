"""An authority, a target and an applier in memory, with a hook between every two steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from app.adapters.memory_rows import MemoryRows, plain_digest
from app.applier.failpoints import no_failpoint
from app.core.approval import Word
from app.core.command import VALUE_WAITS_MS, Action, RepairCommand, command_id
from app.core.contract import EntityContract, RepairMode, RepairPolicy, Replica
from app.core.guard import DEFAULT_LIMITS, Limits
from tests.seals import SEALS
from tests.signatures import ANNA, BELIEF, PlannedApplier

ENTITY = "orders"
KEY = b"\x01key"
POLICY = RepairPolicy(mode=RepairMode.APPLY, deletes=True, deletes_wait=False)


def row(value: object, note: str = "theirs") -> dict[str, object]:
    """Return a row: `value` is compared, `note` is a column outside the contract."""
    return {"value": value, "note": note}


def digest(value: object) -> bytes:
    """Return the digest of a row with this value; None is an absent row."""
    return b"" if value is None else plain_digest({"value": value})


class Killed(Exception):
    """The process died here."""


class World:
    """One row in two stores."""

    def __init__(self, authority: object, target: object, policy: RepairPolicy = POLICY) -> None:
        self.authority = MemoryRows(("value",))
        self.target = MemoryRows(("value",))
        self.words: dict[bytes, list[Word]] = {}
        self.now_ms = 1_000
        self.drifts = 0
        self.policy = policy
        self.steps: list[str] = []
        if authority is not None:
            self.authority.put(ENTITY, KEY, row(authority))
        if target is not None:
            self.target.put(ENTITY, KEY, row(target))

    def applier(
        self, failpoint: Callable[[str], None] = no_failpoint, limits: Limits = DEFAULT_LIMITS
    ) -> PlannedApplier:
        """Start an applier; it shares nothing with an earlier one but the stores."""
        replica = Replica(store="copy", window_ms=3_000, quiet_for_ms=30_000, repair=self.policy)
        contract = EntityContract(ENTITY, 1, 1, (), (), "shop", (), (replica,))

        def step(name: str) -> None:
            self.steps.append(name)
            failpoint(name)

        return PlannedApplier(
            contracts={ENTITY: contract},
            stores={"shop": self.authority, "copy": self.target},
            targets=frozenset({"copy"}),
            seals=SEALS,
            belief=BELIEF,
            words_on=lambda command: self.words.get(command.command_id, ()),
            now_wall_ms=lambda: self.now_ms,
            limits=limits,
            failpoint=step,
        )

    def command(
        self, expected: object, intended: object, key: bytes = KEY, source_transaction: str = ""
    ) -> RepairCommand:
        """Plan a repair from one value to another, for a drift of its own."""
        self.drifts += 1
        finding_id = self.drifts.to_bytes(16, "big")
        return RepairCommand(
            command_id=command_id(finding_id, "copy", digest(expected), digest(intended)),
            finding_id=finding_id,
            incident_id=b"",
            entity=ENTITY,
            contract_version=1,
            authority="shop",
            target="copy",
            action=Action.DELETE if intended is None else Action.UPSERT,
            kind="different",
            sealed_key=SEALS.seal_key(ENTITY, key),
            key_hash=b"h" * 16 if key == KEY else key.ljust(16, b"."),
            partition=0,
            expected_digest=digest(expected),
            intended_digest=digest(intended),
            authority_position=b"",
            needs_approval=False,
            reason="",
            expires_at_ms=10_000,
            fence_token=0,
            trace_id=b"t" * 16,
            source_transaction=source_transaction,
            # Long ago: nothing is waited for any more that may pass.
            planned_at_ms=-VALUE_WAITS_MS,
        )

    def put(self, key: bytes, authority: object, target: object) -> None:
        """Let the application have written a row in both stores; None is no row."""
        for store, value in ((self.authority, authority), (self.target, target)):
            store.put(ENTITY, key, None if value is None else row(value))

    def say(self, command: RepairCommand, *, approved: bool = True) -> None:
        """Let a person speak."""
        word = Word(ANNA.key_id, approved, self.now_ms, self.now_ms + 3_600_000)
        self.words[command.command_id] = [word]

    def value(self, store: MemoryRows, key: bytes = KEY) -> object:
        """Return the compared value in a store, None where there is no row."""
        found: Mapping[str, object] | None = store.rows.get((ENTITY, key))
        return None if found is None else found["value"]


def until_done(world: World, command: RepairCommand, kill_at: Mapping[str, int]) -> None:
    """Carry a command out, killed at the given steps as often as told, each time begun anew."""
    left = dict(kill_at)

    def die(name: str) -> None:
        if left.get(name, 0) > 0:
            left[name] -= 1
            raise Killed(name)

    for _ in range(sum(kill_at.values()) + 1):
        try:
            world.applier(die).carry_out(replace(command))
        except Killed:
            # A dead client's transaction is rolled back by its server.
            continue
        else:
            return
    raise AssertionError("the command was never finished")
