"""A contract's mistakes: each is told with file, line and what to do, and all of them at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from app.codec.contract_checks import LARGE_KINDS
from app.codec.contract_file import load_contracts, number_of, read_contract
from app.codec.contract_shape import Collation, Encoding, contract_schema
from app.core.contract import FieldKind, FieldType, Hours, RepairMode, RepairPolicy
from app.core.store import Converter, StoreKind
from app.core.types.canonical import ENCODINGS
from app.core.types.text import COLLATIONS
from app.declared.document import BYTES_MAX
from app.declared.fault import Refused
from app.settings import Settings, StoreSettings

SCHEMAS = Path(__file__).parents[2] / "schemas"

STORES = {
    name: StoreSettings(name, kind, prefix, Converter.JSON, "127.0.0.1", 1, "shop")
    for name, kind, prefix in (
        ("pg", StoreKind.POSTGRES, "pg"),
        ("my", StoreKind.MARIADB, "my"),
        ("docs", StoreKind.MONGODB, "docs"),
    )
}

GOOD = """\
entity: orders
version: 1
authority: {store: pg, table: public.orders}
replicas:
  - store: my
    table: shop.orders
    window_ms: 10000
    pipeline: {group: sink, topic: pipe.orders}
    repair:
      mode: apply
      deletes: true
key:
  id: {type: int64}
fields:
  amount: {type: decimal, scale: 2, nullable: false}
  placed_at: {type: instant, precision: 3, encodings: {pg: millis}}
  note: {type: string, large: true, columns: {my: "re%mark"}}
"""


def settings(**changes: object) -> Settings:
    """Return settings with the stores of these tests."""
    values: dict[str, object] = {
        "deployment": "t",
        "bootstrap": "127.0.0.1:1",
        "keys_dir": Path("keys"),
        "state_dir": Path("state"),
        "contracts_dir": Path("contracts"),
        "placeholder_file": Path("placeholder"),
        "stores": STORES,
    }
    return Settings(**{**values, **changes})  # type: ignore[arg-type]


def faults_of(text: str) -> list[str]:
    """Return what a contract's text is refused for; empty if it is not."""
    try:
        read_contract("orders.yaml", text, STORES)
    except Refused as refused:
        return [str(fault) for fault in refused.faults]
    return []


def test_a_good_contract_becomes_values_with_stated_defaults() -> None:
    """Every key of the file arrives; what it does not say has the documented default."""
    contract = read_contract("orders.yaml", GOOD, STORES)
    assert (contract.entity, contract.version, contract.number) == ("orders", 1, number_of("orders"))
    assert contract.authority == "pg"
    assert [(t.store, t.table, t.topic, t.partitions) for t in contract.stores] == [
        ("pg", "public.orders", "pg.public.orders", 3),
        ("my", "shop.orders", "my.shop.orders", 3),
    ]
    replica = contract.replicas[0]
    assert (replica.window_ms, replica.quiet_for_ms) == (10_000, 100_000)
    assert replica.pipeline is not None
    assert (replica.pipeline.group, replica.pipeline.topic) == ("sink", "pipe.orders")
    assert (replica.repair.mode, replica.repair.upserts) == (RepairMode.APPLY, True)
    assert (replica.repair.deletes, replica.repair.deletes_wait) == (True, True)
    assert replica.repair == RepairPolicy(mode=RepairMode.APPLY, deletes=True)
    amount, placed_at, note = contract.fields
    assert amount.type == FieldType(FieldKind.DECIMAL, scale=2)
    assert (amount.nullable, amount.columns) == (False, {"pg": "amount", "my": "amount"})
    assert (placed_at.type.precision, placed_at.encodings) == (3, {"pg": "millis"})
    assert contract.large_fields == (note,)
    assert note.columns == {"pg": "note", "my": "re%mark"}


def test_the_number_of_an_entity_is_the_head_of_its_name_s_hash() -> None:
    """The number is part of stored keys: it must never change."""
    assert number_of("orders") == 2641818391


MISTAKES = [
    (
        "a key with a typing error",
        "window_ms: 10000",
        "windw_ms: 10000",
        7,
        'unknown key "windw_ms"',
        'did you mean "window_ms"?',
    ),
    (
        "a missing window",
        "    window_ms: 10000\n",
        "",
        5,
        '"window_ms" is missing',
        "milliseconds in which a change has to arrive",
    ),
    (
        "a window in words",
        "window_ms: 10000",
        "window_ms: 10s",
        7,
        "expected int, got str",
        "milliseconds",
    ),
    (
        "a window below zero",
        "window_ms: 10000",
        "window_ms: -1",
        7,
        "expected int >= 0",
        "milliseconds",
    ),
    (
        "a type with a typing error",
        "type: decimal",
        "type: decmial",
        15,
        '"decmial" is unknown',
        'did you mean "decimal"?',
    ),
    (
        "a type of a database",
        "type: decimal",
        "type: jsonb",
        15,
        '"jsonb" is unknown',
        'did you mean "json"?',
    ),
    (
        "an unknown store",
        "store: my",
        "store: mi",
        5,
        'unknown store "mi"',
        'did you mean "my"?',
    ),
    (
        "a store named twice",
        "store: my",
        "store: pg",
        5,
        'store "pg" is named twice',
        "an entity lives once in a store",
    ),
    (
        "a table without schema",
        "table: public.orders",
        "table: orders",
        3,
        "names no schema or database",
        'write "public.orders"',
    ),
    (
        "a table without database",
        "table: shop.orders",
        "table: orders",
        6,
        "names no schema or database",
        'write "shop.orders"',
    ),
    (
        "our own table",
        "table: public.orders",
        "table: driftline.driftline_beacon",
        3,
        "one of Driftline's own",
        "choose a table of yours",
    ),
    (
        "a missing key",
        "key:\n  id: {type: int64}\n",
        "",
        1,
        '"key" is missing',
        "the parts of the key by name",
    ),
    (
        "an empty key",
        "  id: {type: int64}\n",
        "  {}\n",
        13,
        "length >= 1",
        "the parts of the key by name",
    ),
    (
        "a float as key",
        "id: {type: int64}",
        "id: {type: float64}",
        13,
        "float64 cannot be part of a key",
        "name another unique column",
    ),
    (
        "a field that is in the key",
        "amount:",
        "id:",
        15,
        '"id" is part of the key already',
        "remove it from fields",
    ),
    (
        "scale on an instant",
        "precision: 3,",
        "scale: 3,",
        16,
        '"scale" does not belong to the type instant',
        "it belongs to decimal",
    ),
    (
        "too fine a precision",
        "precision: 3",
        "precision: 9",
        16,
        "expected int <= 6",
        "digits of a second",
    ),
    (
        "an unknown encoding",
        "{pg: millis}",
        "{pg: milis}",
        16,
        '"milis" is unknown',
        'did you mean "millis"?',
    ),
    (
        "a tolerance",
        "scale: 2,",
        "scale: 2, tolerance: 0.01,",
        15,
        '"tolerance" is not built yet',
        "compare the field exactly",
    ),
    (
        "a large number",
        "scale: 2, nullable: false",
        "scale: 2}\n  n: {type: int32, large: true",
        16,
        "no log leaves out",
        "remove large",
    ),
    (
        "a column of a foreign store",
        "columns: {my:",
        "columns: {mi:",
        17,
        '"mi" is no store of this contract',
        'did you mean "my"?',
    ),
    (
        "a column used twice",
        '"re%mark"',
        "amount",
        17,
        'column "amount" of store "my" is field "amount" already',
        "own column",
    ),
    (
        "a column with a NUL",
        '"re%mark"',
        '"a\\0b"',
        17,
        '"a?b" cannot be a name',
        "all of them printable",
    ),
    (
        "a column too long",
        '"re%mark"',
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        17,
        "cannot be a name in mariadb",
        "at most 64 characters",
    ),
    (
        "an unknown normalisation",
        "large: true",
        "normalise: [trimm]",
        17,
        "unknown normalisation 'trimm'",
        "trim",
    ),
    (
        "a normalisation of another type",
        "scale: 2,",
        "scale: 2, normalise: [trim],",
        15,
        "does not apply to decimal",
        "remove it",
    ),
    (
        "an unknown zone",
        "precision: 3",
        "zone: Europe/Zürich",
        16,
        'unknown time zone "Europe/Zürich"',
        'did you mean "Europe/Zurich"?',
    ),
    (
        "an array of nothing",
        "type: string, large: true",
        "type: array",
        17,
        "an array needs the type of its elements",
        "add element:",
    ),
    (
        "a name that is none",
        "note:",
        '"no te":',
        17,
        '"no te" cannot name a field',
        "say the column under columns",
    ),
    (
        "an entity in capitals",
        "entity: orders",
        "entity: Orders",
        1,
        "has not the right form",
        "lower-case letters",
    ),
    (
        "a version in words",
        "version: 1",
        'version: "1"',
        2,
        "expected int, got str",
        "a number from 1",
    ),
    (
        "a version of zero",
        "version: 1",
        "version: 0",
        2,
        "expected int >= 1",
        "a number from 1",
    ),
    (
        "replicas that are no list",
        "replicas:\n  - store: my\n   ",
        "replicas:\n    store: my\n   ",
        5,
        "expected a list",
        "follow",
    ),
    (
        "a repair mode with a typing error",
        "mode: apply",
        "mode: aply",
        10,
        '"aply" is unknown',
        'did you mean "apply"?',
    ),
    (
        "repairs that allow nothing",
        "deletes: true",
        "upserts: false",
        10,
        "allows neither upserts nor deletes",
        "mode: observe",
    ),
    (
        "a kind of drift that there is not",
        "deletes: true",
        "kinds: {stail: propose}",
        11,
        '"stail" is no kind of drift',
        'did you mean "stale"?',
    ),
    (
        "a field that there is not",
        "deletes: true",
        "columns: {amont: propose}",
        11,
        '"amont" is no field of this contract',
        'did you mean "amount"?',
    ),
    (
        "a field that may go further than its replica",
        "mode: apply\n      deletes: true",
        "mode: propose\n      columns: {amount: apply}",
        11,
        "amount: apply goes further than mode: propose",
        "narrow the others",
    ),
    (
        "a field to align that there is not",
        "deletes: true",
        "transform: [amont]",
        11,
        '"amont" is no field of this contract',
        'did you mean "amount"?',
    ),
    (
        "a field to align that has one spelling",
        "deletes: true",
        "transform: [note]",
        11,
        'field "note" has one spelling only',
        "say under normalise or collation what does not count",
    ),
    (
        "hours of no clock",
        "deletes: true",
        'allow: [{start: "8:00", end: "18:00"}]',
        11,
        '"8:00" has not the right form',
        "a time of day in quotes",
    ),
    (
        "hours in no zone",
        "deletes: true",
        'deny: [{start: "08:00", end: "18:00", zone: Europe/Zurick}]',
        11,
        'unknown time zone "Europe/Zurick"',
        'did you mean "Europe/Zurich"?',
    ),
    (
        "a day that there is not",
        "deletes: true",
        'deny: [{days: [sunday], start: "08:00", end: "18:00"}]',
        11,
        '"sunday" is unknown',
        'did you mean "sun"?',
    ),
    (
        "three persons",
        "deletes: true",
        "persons: 3",
        11,
        "expected int <= 2",
        "how many persons must approve",
    ),
    (
        "yes instead of true",
        "deletes: true",
        "deletes: yes",
        11,
        "expected bool, got str",
        "may rows be deleted",
    ),
    (
        "a quiet time below the window",
        "window_ms: 10000",
        "window_ms: 10000\n    quiet_for_ms: 9999",
        8,
        "shorter than the window",
        "at least window_ms (10000)",
    ),
    (
        "a topic that Kafka refuses",
        "topic: pipe.orders",
        'topic: "pipe/orders"',
        8,
        "has not the right form",
        "the topic that it reads",
    ),
    (
        "a pipeline without group",
        "{group: sink, topic",
        "{topic",
        8,
        '"group" is missing',
        "consumer group",
    ),
    (
        "a key said twice",
        "version: 1",
        "version: 1\nversion: 2",
        3,
        '"version" is said twice, first in line 2',
        "keep one of them",
    ),
    (
        "an alias",
        "version: 1",
        "version: &v 1\ndescription: *v",
        3,
        "an alias (*name) is not allowed",
        "write the value out",
    ),
    (
        "a tag",
        "version: 1",
        "version: !!int 1",
        2,
        "a tag",
        "write a plain value",
    ),
    (
        "a tag that makes objects",
        "version: 1",
        "version: !!python/object/apply:os.system [ls]",
        2,
        "a tag",
        "write a plain value",
    ),
    (
        "a second document",
        "version: 1",
        "version: 1\n---\nversion: 1",
        3,
        "a second document begins",
        "remove the ---",
    ),
    (
        "a tab",
        "version: 1",
        "version: 1\n\tx: 1",
        3,
        "is not YAML",
        "mend the syntax",
    ),
    (
        "an open bracket",
        "authority: {store: pg, table: public.orders}",
        "authority: {store: pg",
        4,
        "is not YAML",
        "mend the syntax",
    ),
    (
        "a value left out",
        "version: 1",
        "version:",
        2,
        "has no value",
        "a number from 1",
    ),
]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "what", "hint"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_told_with_file_line_and_what_to_do(
    right: str, wrong: str, line: int, what: str, hint: str
) -> None:
    """One mistake planted in a good contract is found where it stands."""
    assert GOOD.count(right) >= 1
    found = faults_of(GOOD.replace(right, wrong, 1))
    matching = [fault for fault in found if what in fault and hint in fault]
    assert matching, found
    assert re.match(rf"orders\.yaml:{line}:\d+: ", matching[0]), found


@pytest.mark.parametrize(
    ("column", "faults"), [("ship.city", 0), ("ship..city", 1), (".city", 1), ("ship.$city", 1), ("$ship", 1)]
)
def test_a_field_of_a_document_within_is_named_by_its_dots(column: str, faults: int) -> None:
    """In MongoDB; each part between the dots must be a name."""
    text = GOOD.replace("store: my", "store: docs").replace(
        "id: {type: int64}", "id: {type: int64, columns: {docs: _id}}"
    )
    assert len(faults_of(text.replace('{my: "re%mark"}', f'{{docs: "{column}"}}'))) == faults


@pytest.mark.parametrize("key", ["id: {type: int64}", "{a: {type: int64, columns: {docs: _id}}, b: {type: int64}}"])
def test_a_key_of_mongodb_is_the_id_of_its_documents(key: str) -> None:
    """By nothing else a change tells which document it is of."""
    text = GOOD.replace("store: my", "store: docs").replace("re%mark", "remark").replace("{my:", "{docs:")
    text = text.replace("key:\n  id: {type: int64}", f"key: {key}" if key.startswith("{") else f"key:\n  {key}")
    assert any("of kind mongodb is the _id alone" in fault for fault in faults_of(text))


def test_one_mistake_is_told_once_and_hides_nothing() -> None:
    """A broken part does not make other parts look broken."""
    text = GOOD.replace("type: decimal", "type: decmial")
    assert len(faults_of(text)) == 1


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    """Syntax, shape and meaning: ten mistakes in one file give ten faults, in the order of lines."""
    text = """\
entity: Orders
version: 0
authority: {store: gp, table: orders}
replicas:
  - {store: my, table: shop.orders, windw_ms: 1}
key:
  id: {type: float32}
fields:
  id: {type: decmial}
  amount: {type: int8, scale: 2, tolerance: 1, larg: true}
"""
    found = faults_of(text)
    lines = [int(fault.split(":")[1]) for fault in found]
    assert lines == sorted(lines)
    assert set(lines) == {1, 2, 3, 5, 7, 9, 10}
    assert len(found) >= 10, found


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"a: " + b"[" * 100_000, "is nested deeper than"),
        (b"a: " + b"{a: " * 100_000, "is nested deeper than"),
        (b"- " * 50_000 + b"1", "is nested deeper than"),
        (b"a: [" + b"1," * 500_000 + b"1]", "holds more than"),
        (b"".join(b"k%d: v\n" % i for i in range(70_000)), "holds more than"),
        (b"x" * (BYTES_MAX + 1), "is larger than"),
        (b"a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "an alias (*name) is not allowed"),
        (b"a: \xff\n", "is not UTF-8"),
        (b"a: \x01\n", "holds a character that YAML does not allow"),
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"[1, 2]", "expected a mapping, found a list"),
        (b"? [a]\n: 1\n", "a key must be text"),
        (b"version: " + b"9" * 30 + b"\n", "expected int"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, raw: bytes, what: str) -> None:
    """Bombs, aliases, tags and broken bytes end in a fault, never in a traceback or in much memory."""
    (tmp_path / "bomb.yaml").write_bytes(raw)
    with pytest.raises(Refused, match=re.escape(what)):
        load_contracts(tmp_path, settings())


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    """A message shows what stood in the file without escape sequences."""
    found = faults_of(GOOD.replace("store: my", 'store: "\\e[31mred"'))
    assert found
    assert "\x1b" not in "".join(found)


def test_a_whole_policy_is_read() -> None:
    """Kinds, fields, limits, hours, parents, persons: as they stand there."""
    policy = """\
      deletes: true
      kinds: {extra: propose, stale: observe}
      columns: {amount: propose}
      transform: [title]
      quarantine_rows: 100
      quarantine_percent: 2.5
      automatic_per_minute: 50
      automatic_percent_per_minute: 0.5
      allow: [{days: [mon, sun], start: "08:30", end: "18:00", zone: Europe/Zurich}]
      deny: [{start: "22:00", end: "01:15"}]
      persons: 2
      approval_life_ms: 60000
"""
    text = GOOD.replace("      deletes: true\n", policy) + "  title: {type: string, collation: trim}\n"
    replica = read_contract("orders.yaml", text, STORES).replicas[0]
    assert replica.repair == RepairPolicy(
        mode=RepairMode.APPLY,
        deletes=True,
        kinds={"extra": RepairMode.PROPOSE, "stale": RepairMode.OBSERVE},
        columns={"amount": RepairMode.PROPOSE},
        transform=frozenset({"title"}),
        quarantine_rows=100,
        quarantine_percent=2.5,
        automatic_per_minute=50,
        automatic_percent_per_minute=0.5,
        allow=(Hours(frozenset({0, 6}), 510, 1_080, "Europe/Zurich"),),
        deny=(Hours(frozenset(range(7)), 1_320, 75),),
        persons=2,
        approval_life_ms=60_000,
    )


class TestFolderOfContracts:
    """What several files may not share."""

    def test_faults_of_all_files_are_told_together(self, tmp_path: Path) -> None:
        """Two broken files give the faults of both."""
        (tmp_path / "a.yaml").write_text(GOOD.replace("version: 1", "version: 0"))
        (tmp_path / "b.yaml").write_text(GOOD.replace("version: 1", "version: x"))
        with pytest.raises(Refused) as refused:
            load_contracts(tmp_path, settings())
        assert {Path(fault.place.source).name for fault in refused.value.faults} == {"a.yaml", "b.yaml"}

    def test_an_entity_is_declared_once(self, tmp_path: Path) -> None:
        """The second file of the same entity is the one that is wrong, and names the first."""
        (tmp_path / "a.yaml").write_text(GOOD)
        (tmp_path / "b.yaml").write_text(GOOD)
        with pytest.raises(Refused, match=r"b\.yaml:1:9: entity \"orders\" is declared already in .*a\.yaml:1:9"):
            load_contracts(tmp_path, settings())

    def test_a_topic_belongs_to_one_entity(self, tmp_path: Path) -> None:
        """A table under two contracts would be read for one of them only."""
        (tmp_path / "a.yaml").write_text(GOOD)
        (tmp_path / "b.yaml").write_text(GOOD.replace("entity: orders", "entity: orders_again"))
        with pytest.raises(Refused, match=r"b\.yaml:3:\d+: the topic pg\.public\.orders belongs to entity \"orders\""):
            load_contracts(tmp_path, settings())

    def test_numbers_that_collide_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two entities under one number would share their keys."""
        monkeypatch.setattr("app.codec.contract_file.number_of", lambda _: 7)
        (tmp_path / "a.yaml").write_text(GOOD)
        other = GOOD.replace("entity: orders", "entity: others").replace("public.orders", "public.others")
        (tmp_path / "b.yaml").write_text(other.replace("shop.orders", "shop.others"))
        with pytest.raises(Refused, match="have the same number by chance"):
            load_contracts(tmp_path, settings())

    @pytest.mark.parametrize(
        ("parents", "of_others", "what"),
        [
            ("[customers]", "[]", r"a\.yaml:12:17: \"customers\" is no entity of this deployment"),
            ("[others]", "[orders]", r"a\.yaml:12:17: \"orders\" would be its own parent"),
            ("[orders]", "[]", r"a\.yaml:12:17: \"orders\" would be its own parent"),
        ],
    )
    def test_parents_are_entities_above_one(self, tmp_path: Path, parents: str, of_others: str, what: str) -> None:
        """A name that there is not, or a circle, would order nothing."""
        other = GOOD.replace("entity: orders", "entity: others").replace(".orders", ".others")
        for name, text, above in (("a", GOOD, parents), ("b", other, of_others)):
            (tmp_path / f"{name}.yaml").write_text(
                text.replace("deletes: true\n", f"deletes: true\n      parents: {above}\n")
            )
        with pytest.raises(Refused, match=what):
            load_contracts(tmp_path, settings())

    def test_an_empty_or_missing_folder_is_no_success(self, tmp_path: Path) -> None:
        """Nothing to compare must not look like agreement."""
        with pytest.raises(Refused, match="holds no contract"):
            load_contracts(tmp_path, settings())
        with pytest.raises(Refused, match="is not a folder"):
            load_contracts(tmp_path / "absent", settings())


class TestPublishedSchema:
    """`schemas/contract.schema.json`, which editors use."""

    def test_it_is_current(self) -> None:
        """The file is what the types say."""
        assert json.loads((SCHEMAS / "contract.schema.json").read_text()) == contract_schema()

    def test_it_describes_every_member(self) -> None:
        """An editor can show what each key means."""
        bare = [
            f"{name}.{key}"
            for name, record in contract_schema()["$defs"].items()
            for key, member in record.get("properties", {}).items()
            if "description" not in member and not any("description" in m for m in member.get("anyOf", []))
        ]
        assert bare == []

    @pytest.mark.parametrize(
        "path", sorted(SCHEMAS.glob("contracts/*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}"
    )
    def test_the_demo_s_contracts_agree_with_it_and_name_it(self, path: Path) -> None:
        """Each contract that we ship is valid, and its first line leads editors to the schema."""
        text = path.read_text()
        first = text.splitlines()[0]
        assert first == "# yaml-language-server: $schema=../../contract.schema.json"
        assert (path.parent / first.partition("=")[2]).resolve() == (SCHEMAS / "contract.schema.json").resolve()
        jsonschema.validate(YAML(typ="safe", pure=True).load(text), contract_schema())

    @pytest.mark.parametrize("folder", ["demo", "demo_reversed"])
    def test_the_demo_s_contracts_load(self, folder: str) -> None:
        """Both directions of the demo have their contracts."""
        contracts = load_contracts(SCHEMAS / "contracts" / folder, settings())
        assert {"customers", "orders", "products", "documents", "ledger_entries"} <= {c.entity for c in contracts}
        assert {c.authority for c in contracts} == {"my" if folder == "demo_reversed" else "pg"}

    def test_words_of_the_core_are_all_known(self) -> None:
        """The file's closed lists are those of the core."""
        assert {encoding.value for encoding in Encoding} == ENCODINGS
        assert {collation.value for collation in Collation} == COLLATIONS
        assert FieldKind.STRING in LARGE_KINDS
