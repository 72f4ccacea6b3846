"""The canary's opt-in: by settings alone, with rights on one table; without them nothing is another than before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import observe
from app.adapters.own_script import Statement
from app.adapters.own_tables import statements
from app.cli.exit_codes import ExitCode
from app.cli.main import run
from app.codec.contract_file import load_contracts
from app.core.canary import ENTITY
from app.core.contract import EntityContract, RepairMode
from app.core.store import StoreKind
from app.declared.fault import Refused
from app.settings import Settings, load_settings

PAGE = Path(__file__).parents[2] / "docs" / "canary.md"
_OPT_IN = re.search(r"```yaml\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
STORE = """\
    kind: {kind}
    topic_prefix: {name}
    converter: json
    host: 127.0.0.1
    port: 1
    database: shop
"""
REST = """\
deployment: d
bootstrap: 127.0.0.1:1
keys_dir: keys
state_dir: state
contracts_dir: contracts
placeholder_file: placeholder
"""
CONTRACT = """\
entity: {entity}
version: 1
authority: {{store: pg, table: public.orders}}
replicas: [{{store: my, table: shop.orders, window_ms: 1000}}]
key: {{id: {{type: int64}}}}
fields: {{amount: {{type: int32}}}}
"""


def opt_in() -> str:
    """Return the settings of a deployment of two stores that follows the page."""
    assert _OPT_IN is not None
    text = _OPT_IN[1]
    for name, kind in (("pg", "postgres"), ("my", "mariadb")):
        text = text.replace(f"  {name}:\n", f"  {name}:\n" + STORE.format(name=name, kind=kind))
    return REST + text


def load(folder: Path, text: str, entity: str = "orders") -> Settings:
    """Write settings and a contract, and load the settings."""
    (folder / "contracts").mkdir(exist_ok=True)
    (folder / "contracts" / "orders.yaml").write_text(CONTRACT.format(entity=entity))
    (folder / "driftline.yaml").write_text(text)
    return load_settings(folder / "driftline.yaml", {})


def contracts_of(settings: Settings) -> tuple[EntityContract, ...]:
    """Return all contracts."""
    return load_contracts(settings.contracts_dir, settings)


def test_the_pages_settings_make_a_contract_that_repairs_nothing(tmp_path: Path) -> None:
    """In the stores of the role, in single partitions, observed only; one open drift raises no alarm."""
    orders, canary = contracts_of(load(tmp_path, opt_in()))
    assert orders.entity == "orders"
    assert (canary.entity, canary.authority) == (ENTITY, "pg")
    assert [(t.store, t.table, t.topic, t.partitions) for t in canary.stores] == [
        ("pg", "driftline.driftline_canary", "pg.driftline.driftline_canary", 1),
        ("my", "driftline.driftline_canary", "my.driftline.driftline_canary", 1),
    ]
    (replica,) = canary.replicas
    assert (replica.window_ms, replica.pipeline, replica.repair.mode) == (10_000, None, RepairMode.OBSERVE)
    assert canary.tolerated is not None
    assert canary.tolerated.open_rows == 1


def test_without_the_section_there_is_no_canary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No contract, no table, no rights; and the command says what to add."""
    settings = load(tmp_path, re.sub(r"^canary:\n(  .+\n)+", "", opt_in(), flags=re.MULTILINE))
    contracts = contracts_of(settings)
    assert [contract.entity for contract in contracts] == ["orders"]
    for store in settings.stores.values():
        assert not any(f".{ENTITY}" in s.text for s in statements(store, contracts))
    assert run(["--config", str(tmp_path / "driftline.yaml"), "canary"]) == ExitCode.COULD_NOT_RUN
    assert "the settings want no canary" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [StoreKind.POSTGRES, StoreKind.MARIADB])
def test_the_role_may_write_the_canarys_table_and_nothing_else(tmp_path: Path, kind: StoreKind) -> None:
    """The table is made before rights on it are given, is published, and is read by the connector."""
    settings = load(tmp_path, opt_in().replace("canary: {user: d", "capture: {user: cdc}\n      canary: {user: d"))
    store = settings.stores["pg" if kind is StoreKind.POSTGRES else "my"]
    script = statements(store, contracts_of(settings))
    texts = [statement.text for statement in script]
    [made] = [n for n, text in enumerate(texts) if f".{ENTITY} (" in text]
    granted = [n for n, text in enumerate(texts) if text.startswith("GRANT") and rights(script[n])]
    assert [texts[n].partition(" ON ")[0] for n in granted] == ["GRANT SELECT, INSERT, UPDATE, DELETE"]
    assert f".{ENTITY} TO " in texts[granted[0]]
    assert made < granted[0]
    assert any(text.startswith("GRANT SELECT ON") and ENTITY in text and "cdc" in text for text in texts)
    published = [text for text in texts if "ALTER PUBLICATION" in text and ENTITY in text]
    assert len(published) == (1 if kind is StoreKind.POSTGRES else 0)


def rights(statement: Statement) -> bool:
    """Whether a statement gives the canary's role rights on a table."""
    return "driftline_canary" in statement.text.partition(" TO ")[2] and statement.text.split()[1] not in {
        "CONNECT",
        "USAGE",
    }


@pytest.mark.parametrize(
    ("right", "wrong", "what"),
    [
        ("authority: pg", "authority: docs", 'the store "docs" has no role canary'),
        ("      canary: {user: driftline_canary, password_file: keys/my-canary}", "      {}", "a drift needs two"),
        ("patience_s: 60", "patience_s: 30", "would count as missed before"),
        ("kind: mariadb", "kind: mongodb", "no drifts can be planted in a store of kind mongodb"),
        ("window_ms: 10000", "window_ms: 999", "expected int >= 1000"),
    ],
)
def test_a_mistake_in_the_settings_is_told(tmp_path: Path, right: str, wrong: str, what: str) -> None:
    """With its place, and what to do."""
    assert right in opt_in()
    with pytest.raises(Refused, match=what):
        load(tmp_path, opt_in().replace(right, wrong, 1))


def test_what_a_deployment_costs_is_told_without_the_canary(tmp_path: Path) -> None:
    """Nobody has to state rates of a table that is not theirs."""
    load(tmp_path, opt_in())
    (tmp_path / "rates.yaml").write_text("entities: {orders: {rows: 1000, changes_per_s: 1}}\n")
    config = str(tmp_path / "driftline.yaml")
    assert run(["--config", config, "cost", "--rates", str(tmp_path / "rates.yaml")]) == ExitCode.AGREE


def test_nobody_else_may_call_an_entity_by_the_canarys_name(tmp_path: Path) -> None:
    """What is told of it would be taken for the canary's."""
    with pytest.raises(Refused, match="is Driftline's own"):
        contracts_of(load(tmp_path, opt_in(), ENTITY))


def test_the_page_names_the_metrics_that_there_are_and_their_words() -> None:
    """Names, labels and every outcome."""
    page = PAGE.read_text(encoding="utf-8")
    declared = {
        f"{m.name}{{{','.join(label.value for label in m.labels)}}}": m
        for m in observe.ALL_METRICS
        if m.name.startswith("driftline_canary_")
    }
    assert set(re.findall(r"`(driftline_canary_\w+\{[a-z,]+\})`", page)) == set(declared)
    for metric in (observe.CANARY_PLANTINGS, observe.CANARY_ENDINGS):
        for word in metric.closed_values(observe.Label.OUTCOME) or ():
            assert f"`{word}`" in page
