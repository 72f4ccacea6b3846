"""The SQL that init shows and runs: quoted names, hidden passwords, rights by policy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.own_script import HIDDEN, Statement
from app.adapters.own_tables import ITS_TABLE, REFERRING, statements
from app.adapters.planner_trust import PlannerTrust
from app.adapters.secret_files import make_secret_files
from app.adapters.signing import SIGNERS, read_signers
from app.core.contract import (
    EntityContract,
    Field,
    FieldKind,
    FieldType,
    KeyField,
    RepairMode,
    RepairPolicy,
    Replica,
    StoreTable,
)
from app.core.store import Converter, StoreKind
from app.core.trust import SignerRole
from app.settings import RoleSettings, Settings, StoreSettings

NAMES = {"pg": 'na"me', "my": "na`me"}


def store_of(kind: StoreKind, folder: Path) -> StoreSettings:
    """Return a store with every role."""
    name = "pg" if kind is StoreKind.POSTGRES else "my"
    roles = {
        role: RoleSettings(f"u_{role}", folder / f"{name}-{role}") for role in ("beacon", "read", "apply", "conduct")
    }
    roles["admin"] = RoleSettings("root")
    roles["capture"] = RoleSettings("cdc", folder / "cdc")
    return StoreSettings(name, kind, name, Converter.JSON, "127.0.0.1", 1, "shop", "own", roles=roles)


def contract_of(policy: RepairPolicy, replica: str) -> EntityContract:
    """Return a contract whose replica has this policy."""
    ids = {"pg": "id", "my": "id"}
    authority = "my" if replica == "pg" else "pg"
    return EntityContract(
        entity="things",
        version=1,
        number=1,
        key=(KeyField("id", FieldType(FieldKind.INT64), ids),),
        fields=(Field("name", FieldType(FieldKind.STRING), NAMES),),
        authority=authority,
        stores=(StoreTable("pg", "public.th%ings", "pg.t"), StoreTable("my", "shop.th%ings", "my.t")),
        replicas=(Replica(replica, 3_000, 30_000, repair=policy),),
    )


def rights_of(user: str, script: list[Statement]) -> list[str]:
    """Return the grants of one user on contracts' tables."""
    return [s.text.split(" TO ")[0] for s in script if s.needs and s.text.startswith("GRANT") and user in s.text]


APPLY = RepairPolicy(mode=RepairMode.APPLY)


@pytest.mark.parametrize(
    ("policy", "is_replica", "rights"),
    [
        (APPLY, True, ["GRANT SELECT ON {t}", "GRANT INSERT ({id}, {n}), UPDATE ({n}) ON {t}"]),
        (
            replace(APPLY, deletes=True),
            True,
            ["GRANT SELECT ON {t}", "GRANT INSERT ({id}, {n}), UPDATE ({n}) ON {t}", "GRANT DELETE, INSERT ON {t}"],
        ),
        (RepairPolicy(deletes=True), True, ["GRANT SELECT ON {t}"]),
        (replace(APPLY, deletes=True), False, ["GRANT SELECT ON {t}"]),
    ],
)
@pytest.mark.parametrize("kind", [StoreKind.POSTGRES, StoreKind.MARIADB])
def test_rights_are_what_the_policy_needs(
    kind: StoreKind, policy: RepairPolicy, rights: list[str], tmp_path: Path, *, is_replica: bool
) -> None:
    """A store that is nobody's replica, or only observed, is only read; DELETE only where the policy deletes."""
    store = store_of(kind, tmp_path)
    replica = store.name if is_replica else ("my" if store.name == "pg" else "pg")
    script = statements(store, [contract_of(policy, replica)])
    if kind is StoreKind.POSTGRES:
        names = {"t": '"public"."th%ings"', "id": '"id"', "n": '"na""me"'}
    else:
        names = {"t": "`shop`.`th%ings`", "id": "`id`", "n": "`na``me`"}
    table_rights = [text for text in rights_of("u_apply", script) if "USAGE" not in text]
    if kind is StoreKind.MARIADB and len(rights) > 1:
        # What would go along with a row that is written is to be seen.
        assert table_rights.pop() == f"GRANT SELECT ({REFERRING}), REFERENCES ON {ITS_TABLE}"
    assert table_rights == [right.format(**names) for right in rights]


@pytest.mark.parametrize("kind", [StoreKind.POSTGRES, StoreKind.MARIADB])
def test_the_conductor_reads_tables_and_adds_signals_only(kind: StoreKind, tmp_path: Path) -> None:
    """It writes nothing else, in no table."""
    store = store_of(kind, tmp_path)
    script = statements(store, [contract_of(APPLY, store.name)])
    grants = [s.text.partition(" ON ")[0] + " " + s.text.split(".")[-1] for s in script if "u_conduct" in s.text]
    writing = [text for text in grants if text.startswith("GRANT") and "USAGE" not in text and "CONNECT" not in text]
    assert [text.split()[1] for text in writing] == ["INSERT", "SELECT"]
    assert "driftline_signal" in writing[0]


@pytest.mark.parametrize("kind", [StoreKind.POSTGRES, StoreKind.MARIADB])
def test_the_connector_may_read_every_own_table(kind: StoreKind, tmp_path: Path) -> None:
    """It captures all of them, and ends its snapshot at one that it may not read."""
    script = statements(store_of(kind, tmp_path), [contract_of(APPLY, "my")])
    made = {match[1] for s in script if (match := re.search(r"CREATE TABLE .*\.(driftline_\w+) \(", s.text))}
    read = {match[1] for s in script if (match := re.match(r"GRANT SELECT.* ON .*\.(driftline_\w+) TO .cdc", s.text))}
    assert made == read == {f"driftline_{name}" for name in ("beacon", "signal", "fence", "ledger")}


@pytest.mark.parametrize("kind", [StoreKind.POSTGRES, StoreKind.MARIADB])
def test_a_script_shows_no_password_and_drops_nothing(kind: StoreKind, tmp_path: Path) -> None:
    """A person may copy it; it may be run twice; a store without SQL has none."""
    store = store_of(kind, tmp_path)
    for role in ("beacon", "read", "apply", "conduct"):
        (tmp_path / f"{store.name}-{role}").write_text("very secret")
    script = statements(store, [contract_of(APPLY, store.name)])
    text = "\n".join(statement.text for statement in script)
    assert "secret" not in text
    assert HIDDEN in text
    assert "DROP " not in text
    assert all("IF NOT EXISTS" in s.text for s in script if s.text.startswith(("CREATE TABLE", "CREATE SCHEMA")))


def test_secrets_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    """What is there stays as it is."""
    stores = {s.name: s for s in (store_of(StoreKind.POSTGRES, tmp_path), store_of(StoreKind.MARIADB, tmp_path))}
    stores["docs"] = replace(store_of(StoreKind.MARIADB, tmp_path / "docs"), name="docs", kind=StoreKind.MONGODB)
    settings = Settings(
        deployment="d",
        bootstrap="localhost:1",
        keys_dir=tmp_path / "keys",
        state_dir=tmp_path,
        contracts_dir=tmp_path,
        placeholder_file=tmp_path / "keys" / "placeholder",
        stores=stores,
    )
    made = make_secret_files(settings)
    assert len(made) == 4 + 1 + 12
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
    before = {path: path.read_bytes() for path in made}
    assert make_secret_files(settings) == []
    assert {path: path.read_bytes() for path in made} == before
    assert len(set(before.values())) == len(made)


def test_the_planner_that_init_makes_is_trusted_once(tmp_path: Path) -> None:
    """Its key's line stands in the list of signers, and no approver's: a person makes that."""
    settings = Settings(
        deployment="d",
        bootstrap="localhost:1",
        keys_dir=tmp_path / "keys",
        state_dir=tmp_path,
        contracts_dir=tmp_path,
        placeholder_file=tmp_path / "keys" / "placeholder",
        stores={},
    )
    for _ in range(2):
        make_secret_files(settings)
    PlannerTrust.from_folder("d", settings.keys_dir, lambda: 0).check()
    (signer,) = read_signers(settings.keys_dir / SIGNERS).values()
    assert (signer.role, signer.person) == (SignerRole.PLANNER, "d")
