"""What both databases are asked to hold: for each canonical type its values at the edges, and every column for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from app.core.contract import FieldKind as K
from app.core.contract import FieldType
from app.core.store import StoreKind
from app.core.types.numbers import INTEGER_RANGES

POSTGRES, MARIADB = StoreKind.POSTGRES, StoreKind.MARIADB
EDGES = 10
"""So many values at least make a pair of columns well tried."""

NULL = "NULL"
"""The name of the value that every column has; a writing of it is what a store shows as nothing."""


@dataclass(frozen=True)
class Value:
    """One value in one or more writings; `only` is the kind of store that alone has it. Unlike names, unlike values."""

    name: str
    writings: tuple[str, ...]
    only: StoreKind | None = None


@dataclass(frozen=True)
class Column:
    """One column of a family; `write` makes an SQL literal of a writing, the other sets name values.

    `lacks`: the column cannot hold them. `refused`: its log carries them as what cannot be read. `misread`: the
    connector's snapshot, though not its stream, carries them as others. `writes`: a value read may be written again.
    """

    sql_type: str
    write: Callable[[str], str]
    lacks: frozenset[str] = frozenset()
    encoding: str = ""
    writes: bool = True
    refused: frozenset[str] = frozenset()
    misread: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Family:
    """One canonical type with its values, and the columns of both databases that hold them."""

    name: str
    type: FieldType
    values: tuple[Value, ...]
    postgres: tuple[Column, ...]
    mariadb: tuple[Column, ...] = ()

    def columns(self, kind: StoreKind) -> tuple[Column, ...]:
        """Return the columns in one kind of store."""
        return self.postgres if kind is POSTGRES else self.mariadb

    def held(self, kind: StoreKind, column: Column) -> Iterator[tuple[Value, str]]:
        """List the values that a column holds, with a literal for each writing."""
        for value in self.values:
            if value.only in {None, kind} and value.name not in column.lacks:
                yield from ((value, column.write(writing)) for writing in value.writings)


def values(*writings: str, only: StoreKind | None = None) -> tuple[Value, ...]:
    """Return values of one writing each, named by it."""
    return tuple(Value(writing, (writing,), only) for writing in writings)


def same(*writings: str) -> Value:
    """Return one value in many writings."""
    return Value(writings[0], writings)


def plain(text: str) -> str:
    """Write a number."""
    return text


def number(text: str) -> str:
    """Write a number, or what is none."""
    return text if text[-1].isdigit() else quoted(text)


def quoted(text: str) -> str:
    """Write a text for PostgreSQL."""
    return "'" + text.replace("'", "''") + "'"


def escaped(text: str) -> str:
    """Write a text for MariaDB, where a backslash is no letter."""
    return quoted(text.replace("\\", "\\\\"))


def all_but(family_values: Iterable[Value], *held: str) -> frozenset[str]:
    """Name the values that a column lacks, by those that it holds."""
    return frozenset(value.name for value in family_values) - set(held)


def booleans() -> Family:
    """True and false; a two, where a number stands for a truth, is neither."""
    truths = (*values("1", "0"), *values("2"))
    two = frozenset({"2"})

    def word(text: str) -> str:
        return "true" if text == "1" else "false"

    def bit(text: str) -> str:
        return f"b'{text}'"

    return Family(
        "bool",
        FieldType(K.BOOL),
        truths,
        (
            Column("boolean", word, two),
            Column("bit(1)", bit, two, writes=False),
            Column("smallint", plain, refused=two, writes=False),
            Column("integer", plain, refused=two, writes=False),
        ),
        (
            Column("boolean", plain, refused=two),
            Column("bit(1)", bit, two),
            Column("smallint", plain, refused=two),
            Column("integer", plain, refused=two),
        ),
    )


def integers(kind: K) -> Family:
    """Whole numbers of one width in every column of numbers, as far as each holds them."""
    lowest, highest = INTEGER_RANGES[kind]
    edges = {lowest, lowest + 1, lowest // 2, highest // 2, highest // 2 + 1, highest - 1, highest}
    near = {-1, 0, 1, 2, 7, 10, 99, 100, 1970, 2026, 2155, 9_007_199_254_740_993}
    numbers = sorted(edges | {n for n in near if lowest <= n <= highest})
    family_values = values(*map(str, numbers))

    def within(low: int, high: int) -> frozenset[str]:
        return frozenset(str(n) for n in numbers if not low <= n <= high)

    def signed(sql_type: str, bits: int) -> Column:
        return Column(sql_type, plain, within(-(1 << bits - 1), (1 << bits - 1) - 1))

    def unsigned(sql_type: str, bits: int) -> Column:
        return Column(f"{sql_type} unsigned", plain, within(0, (1 << bits) - 1))

    def its_bits(text: str) -> str:
        return f"b'{int(text):b}'"

    whole = {"tinyint": 8, "smallint": 16, "mediumint": 24, "integer": 32, "bigint": 64}
    make = signed if lowest < 0 else unsigned
    year = (Column("year", plain, within(1901, 2155)),) if highest > 2155 else ()
    return Family(
        kind.value,
        FieldType(kind),
        family_values,
        (
            signed("smallint", 16),
            signed("integer", 32),
            signed("bigint", 64),
            Column("numeric(20,0)", plain),
        ),
        (
            *(make(sql_type, bits) for sql_type, bits in whole.items()),
            Column("decimal(20,0)", plain),
            Column("bit(64)", its_bits, within(0, highest), "bits"),
            *year,
        ),
    )


def decimals() -> Family:
    """Exact numbers: of 65 digits, of thirty behind the point, and what PostgreSQL has beyond them."""
    nines, long, small = "9" * 65, f"{'9' * 35}.{'9' * 30}", f"0.{'0' * 29}1"
    shared = (
        same("0", "-0.0", "0.00"),
        same("10", "10.0", "10.000"),
        same("100.5", "100.50"),
        *values("1", "-1", "7", "0.1", "0.5", "-0.0001", "12345.6789", "0.30000000000000004"),
        *values("3.14159265358979323846", "12345678901234567000", f"1{'0' * 50}", nines, f"-{nines}", long, small),
    )
    tiny = Value("1e-400", (f"0.{'0' * 399}1",), POSTGRES)
    special = values("NaN", "Infinity", "-Infinity", only=POSTGRES)
    family_values = (*shared, tiny, *special)

    def exact(sql_type: str, whole: int, scale: int, *also: str, writes: bool = True) -> Column:
        held = []
        for value in (*shared, tiny):
            before, _, behind = value.writings[0].lstrip("-").partition(".")
            if len(before.lstrip("0")) <= whole and len(behind.rstrip("0")) <= scale:
                held.append(value.name)
        return Column(sql_type, number, all_but(family_values, *held, *also), writes=writes)

    short = ("0", "10", "100.5", "1", "-1", "7", "0.1", "0.5", "-0.0001")
    double = (*short, "12345.6789", "0.30000000000000004", "12345678901234567000", f"1{'0' * 50}")
    named = [value.name for value in special]
    return Family(
        "decimal",
        FieldType(K.DECIMAL),
        family_values,
        (
            Column("numeric", number),
            exact("numeric(65,30)", 35, 30, "NaN"),
            exact("numeric(12,4)", 8, 4, "NaN"),
            exact("money", 15, 2, writes=False),
            exact("smallint", 4, 0),
            exact("integer", 9, 0),
            exact("bigint", 18, 0),
            Column("real", number, all_but(family_values, *short, *named)),
            Column("double precision", number, all_but(family_values, *double, *named)),
        ),
        (
            exact("decimal(65,0)", 65, 0),
            exact("decimal(65,30)", 35, 30),
            exact("decimal(12,4)", 8, 4),
            exact("tinyint", 2, 0),
            exact("smallint", 4, 0),
            exact("mediumint", 6, 0),
            exact("integer", 9, 0),
            exact("bigint", 18, 0),
            Column("float", plain, all_but(family_values, *short)),
            Column("double", plain, all_but(family_values, *double)),
        ),
    )


NOT_FINITE = values("NaN", "Infinity", "-Infinity", only=POSTGRES)


def singles() -> Family:
    """Floats of 32 bits, which count as equal to six digits."""
    family_values = (
        same("0", "-0.0"),
        *values("1.5", "0.1", "-123.456", "3.4028234e38", "1.17549435e-38", "16777217", "0.333333333", "-2.5e10", "7"),
        *values("1e-45", only=POSTGRES),
        *NOT_FINITE,
    )
    return Family(
        "float32",
        FieldType(K.FLOAT32),
        family_values,
        (Column("real", quoted), Column("double precision", quoted)),
        (Column("float", plain), Column("double", plain)),
    )


def doubles() -> Family:
    """Floats of 64 bits; a column of 32 holds few of them."""
    family_values = (
        same("0", "-0.0"),
        *values("1.5", "0.1", "-123.456", "0.30000000000000004", "1e22", "1.7976931348623157e308", "5e-324", "65536"),
        *values("2.2250738585072014e-308", "-1.2345678901234567e-300", "9007199254740993", "-2.5"),
        *NOT_FINITE,
    )
    short = all_but(family_values, "0", "1.5", "65536", "-2.5")
    return Family(
        "float64",
        FieldType(K.FLOAT64),
        family_values,
        (Column("double precision", quoted), Column("real", quoted, short)),
        (Column("double", plain), Column("float", plain, short)),
    )


WIDE = "exactly 12ch"
"""A text that fills a char(12), so that nothing is padded."""

TEXTS = ("tinytext", "text", "mediumtext", "longtext")


def strings() -> Family:
    """Texts to the code point."""
    trailing, quotes, emoji = "trailing  ", 'it\'s "quoted" \\ back', "💶🏴‍☠️ ẞ"
    simple = ("hello", "Hello", "Grüße", "é", "NULL", WIDE, "0")
    more = (" lead", trailing, "", quotes, emoji, "ÿ", "e\u0301", "line\nbreak\ttab", "ﬁ")
    family_values = tuple(Value(f"text {text!r}", (text,)) for text in (*simple, *more))

    def lacks(*missing: str) -> frozenset[str]:
        return frozenset(f"text {text!r}" for text in missing)

    def holds(*held: str) -> frozenset[str]:
        return all_but(family_values, *(f"text {text!r}" for text in held))

    labels = ",".join(map(escaped, simple))
    return Family(
        "string",
        FieldType(K.STRING),
        family_values,
        (
            Column("text", quoted),
            Column("varchar(60)", quoted),
            Column("char(12)", quoted, holds(WIDE)),
            Column("citext", quoted),
            Column("xml", quoted),
        ),
        (
            Column("varchar(60)", escaped),
            Column("char(12)", escaped, lacks(trailing, quotes, "line\nbreak\ttab")),
            *(Column(sql_type, escaped) for sql_type in TEXTS),
            Column("varchar(60) CHARACTER SET latin1", escaped, lacks(emoji, "e\u0301", "ﬁ")),
            Column("varchar(60) CHARACTER SET utf8mb3", escaped, lacks(emoji)),
            Column(f"enum({labels})", escaped, holds(*simple)),
            Column("set('hello','Grüße')", escaped, holds("hello", "Grüße", "")),
        ),
    )


def trimmed_strings() -> Family:
    """Texts whose blanks at the end do not count."""
    family_values = (
        same("ab", "ab  ", "ab     "),
        same("", "   "),
        same(" x", " x "),
        *values("abc", "AB", "é", "e\u0301", "💶", "a b", "0", WIDE),
    )
    return Family(
        "string trim",
        FieldType(K.STRING, collation="trim"),
        family_values,
        (Column("char(12)", quoted), Column("varchar(60)", quoted), Column("text", quoted)),
        (Column("char(12)", escaped), Column("varchar(60)", escaped), Column("text", escaped)),
    )


def case_blind_strings() -> Family:
    """Texts whose case and composition do not count."""
    family_values = (
        same("straße", "STRASSE", "Straße"),
        same("é", "É", "e\u0301"),
        same("abc", "ABC", "aBc"),
        same("ω", "Ω"),
        same("ﬁ", "FI", "fi"),
        same("i\u0307", "İ"),
        *values("", "e", "💶", "a b", "abc ", "0"),
    )
    blind = "COLLATE utf8mb4_general_ci"
    return Family(
        "string ci",
        FieldType(K.STRING, collation="ci"),
        family_values,
        (Column("text", quoted), Column("varchar(60)", quoted), Column("citext", quoted)),
        (Column(f"varchar(60) {blind}", escaped), Column(f"text {blind}", escaped)),
    )


MOODS = ("busy", "Busy", "so lala", "Grüße", "é", "0", "1", "NULL", "ÿ", "last", WIDE)
"""The labels of PostgreSQL's type `mood`."""


def enums() -> Family:
    """Labels, whose number does not count."""
    family_values = tuple(Value(f"label {text}", (text,)) for text in MOODS)
    return Family(
        "enum",
        FieldType(K.ENUM),
        family_values,
        (
            Column("mood", quoted),
            *(Column(sql_type, quoted) for sql_type in ("text", "varchar(60)", "citext", "xml")),
            Column("char(12)", quoted, all_but(family_values, f"label {WIDE}")),
        ),
        (
            Column(f"enum({','.join(map(escaped, MOODS))})", escaped),
            *(Column(sql_type, escaped) for sql_type in ("char(12)", "varchar(60)", *TEXTS)),
        ),
    )


def byte_strings() -> Family:
    """Bytes; a binary(4) fills up with zeros, so it holds what is four bytes long."""
    family_values = values("", "00", "0000", "ff", "dead", "dead00", "00dead", "c3a9", "0a0d09", "5c785c", "00" * 20)
    four = values("deadbeef", "00000000", "dead0000")
    kinds = ("varbinary(20)", "tinyblob", "blob", "mediumblob", "longblob")

    def hexed(text: str) -> str:
        return f"x'{text}'"

    return Family(
        "bytes",
        FieldType(K.BYTES),
        (*family_values, *four),
        (Column("bytea", lambda text: f"'\\x{text}'"),),
        (
            *(Column(sql_type, hexed) for sql_type in kinds),
            Column("binary(4)", hexed, all_but(family_values)),
        ),
    )


def dates() -> Family:
    """Days of the calendar. MariaDB's zero date is NULL, as its log says."""
    family_values = (
        *values("2026-02-28", "1970-01-01", "1969-12-31", "1000-01-01", "9999-12-31", "2000-02-29", "1900-03-01"),
        *values("1582-10-04", "1582-10-15", "2038-01-20", "1752-09-14"),
        *values("0001-01-01", "1582-10-10", "0044-03-15 BC", "5874897-12-31", "infinity", "-infinity", only=POSTGRES),
        Value(NULL, ("0000-00-00",), MARIADB),
    )
    # A day that the Julian calendar lacks; an era that is lost.
    misread = frozenset({"1582-10-10", "0044-03-15 BC"})
    return Family(
        "date",
        FieldType(K.DATE),
        family_values,
        (Column("date", quoted, misread=misread),),
        (Column("date", quoted),),
    )


def finer_than(family_values: Iterable[Value], digits: int) -> frozenset[str]:
    """Name the values with more digits of a second than a column keeps."""
    return frozenset(
        value.name
        for value in family_values
        if any(len(text.partition(" BC")[0].partition(".")[2].rstrip("0")) > digits for text in value.writings)
    )


def times() -> Family:
    """Times of day, and MariaDB's spans below zero and beyond a day."""
    family_values = (
        *values("00:00:00", "23:59:59", "24:00:00", "10:00:00", "00:00:01", "12:34:56.5", "12:34:56.789"),
        *values("12:34:56.789012", "23:59:59.999999", "00:00:00.000001"),
        *values("-838:59:59", "838:59:59", "-00:00:00.000001", "-12:34:56", only=MARIADB),
    )

    def columns(sql_type: str) -> tuple[Column, ...]:
        return tuple(Column(f"{sql_type}({n})", quoted, finer_than(family_values, n)) for n in (6, 3, 0))

    return Family("time", FieldType(K.TIME), family_values, columns("time"), columns("time"))


OLD = ("0001-01-01 00:00:00", "1582-10-10 01:02:03", "0044-03-15 01:02:03.4 BC")
BEYOND = "294276-12-31 23:59:59.999999"


def wall_clocks() -> Family:
    """Readings of a clock on the wall: hours that some zones never have are hours like others."""
    family_values = (
        *values("2026-02-28 12:34:56", "1970-01-01 00:00:00", "1969-12-31 23:59:59", "1000-01-01 00:00:00"),
        *values("9999-12-31 23:59:59", "2026-03-29 02:30:00", "2026-10-25 02:30:00", "2038-01-19 03:14:08"),
        *values("2000-02-29 23:59:59.5", "2026-02-28 12:34:56.789", "2026-02-28 12:34:56.789012"),
        *values("1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
        *values(*OLD, "infinity", "-infinity", BEYOND, only=POSTGRES),
        Value(NULL, ("0000-00-00 00:00:00",), MARIADB),
    )
    odd = frozenset({"0044-03-15 01:02:03.4 BC", "infinity", "-infinity", BEYOND})

    def short(sql_type: str, digits: int, *, lacks: frozenset[str] = frozenset()) -> Column:
        return Column(f"{sql_type}({digits})", quoted, finer_than(family_values, digits) | lacks, "millis")

    zero = frozenset({NULL})
    return Family(
        "local_timestamp",
        FieldType(K.LOCAL_TIMESTAMP),
        family_values,
        (
            Column("timestamp", quoted, refused=frozenset({BEYOND})),
            short("timestamp", 3, lacks=odd),
            short("timestamp", 0, lacks=odd),
        ),
        (Column("datetime(6)", quoted), short("datetime", 3, lacks=zero), short("datetime", 0, lacks=zero)),
    )


def in_paris(text: str) -> str:
    """Write what a clock in Paris shows at an instant of UTC."""
    at = datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Paris"))
    return quoted(at.replace(tzinfo=None).isoformat(" "))


PARIS_INSTANTS = values(
    "2026-02-28 11:34:56.789012",
    "2026-07-01 00:00:00",
    "2026-03-29 00:59:59",
    "2026-03-29 01:00:00",
    "2026-10-24 23:59:59",
    "2026-10-25 02:00:00",
    "1971-01-01 00:00:00",
    "2037-12-31 23:59:59.999999",
    "2000-02-29 12:00:00",
    "1999-12-31 23:30:00",
)


def clocks_of_paris() -> Family:
    """What a clock in Paris shows: the hour that comes twice is one reading."""
    fold = same("2026-10-25 00:30:00", "2026-10-25 01:30:00")
    return Family(
        "local_timestamp in Paris",
        FieldType(K.LOCAL_TIMESTAMP, zone="Europe/Paris"),
        (*PARIS_INSTANTS, fold),
        (Column("timestamptz", lambda text: quoted(f"{text}+00")), Column("timestamp", in_paris)),
        (Column("timestamp(6) NULL", quoted, encoding="utc", writes=False), Column("datetime(6)", in_paris)),
    )


def instants_of_paris() -> Family:
    """Instants, of which a clock in Paris tells two by one reading: those are refused from it."""
    fold = values("2026-10-25 00:30:00", "2026-10-25 01:30:00")
    twice = frozenset(value.name for value in fold)
    return Family(
        "instant in Paris",
        FieldType(K.INSTANT, zone="Europe/Paris"),
        (*PARIS_INSTANTS, *fold),
        (Column("timestamptz", lambda text: quoted(f"{text}+00")), Column("timestamp", in_paris, refused=twice)),
        (Column("timestamp(6) NULL", quoted, encoding="utc"), Column("datetime(6)", in_paris, refused=twice)),
    )


def instants() -> Family:
    """Moments in UTC."""
    early = (*values("1969-12-31 23:59:59"), *values("1000-01-01 00:00:00"), *values("1970-01-01 00:00:00"))
    late = values("9999-12-31 23:59:59", "2038-01-19 03:14:08")
    family_values = (
        *values("2026-02-28 12:34:56", "1970-01-01 00:00:01", "2026-03-29 01:30:00", "2026-10-25 00:30:00"),
        *values("2000-02-29 23:59:59.5", "2026-02-28 12:34:56.789", "2026-02-28 12:34:56.789012"),
        *values("2038-01-19 03:14:07.999999"),
        *early,
        *late,
        *values(*OLD, "infinity", "-infinity", BEYOND, only=POSTGRES),
    )
    odd = frozenset({"0044-03-15 01:02:03.4 BC", "infinity", "-infinity", BEYOND})
    beyond_timestamp = all_but((*early, *late))

    def zoned(text: str) -> str:
        moment, era, _ = text.partition(" BC")
        return quoted(text if "infinity" in text else f"{moment}+00{era}")

    return Family(
        "instant",
        FieldType(K.INSTANT),
        family_values,
        (
            Column("timestamptz", zoned),
            Column("timestamptz(3)", zoned, finer_than(family_values, 3) | odd),
            Column("timestamp", quoted, refused=frozenset({BEYOND})),
        ),
        (
            Column("timestamp(6) NULL", quoted, beyond_timestamp),
            Column("timestamp(0) NULL", quoted, beyond_timestamp | finer_than(family_values, 0)),
            Column("datetime(6)", quoted),
            Column("datetime(3)", quoted, finer_than(family_values, 3), "millis"),
        ),
    )


def instants_to_the_millisecond() -> Family:
    """Moments of which three digits of a second count: the rest is cut off."""
    family_values = tuple(
        same(*(f"20{year}-02-28 12:34:56.{second}" for second in ("789012", "789", "789999"))) for year in range(20, 30)
    )
    return Family(
        "instant to the millisecond",
        FieldType(K.INSTANT, precision=3),
        family_values,
        (Column("timestamptz", lambda text: quoted(f"{text}+00")),),
        (Column("timestamp(6) NULL", quoted), Column("datetime(6)", quoted)),
    )


def intervals() -> Family:
    """Months, days and microseconds, which stay apart: a day is not 24 hours."""
    family_values = (
        same("P1DT2H", "P0Y0M1DT2H0M0S"),
        same("P7D", "P1W"),
        same("P14M", "P1Y2M"),
        *values("P1Y-2M3DT-4H-5M-6.789S", "PT0S", "P-1D", "P100Y", "PT-0.000001S", "P1MT-0.000001S", "PT36H"),
        *values("P1D", "PT24H", "P1M", "P30D", "PT0.5S"),
    )
    return Family(
        "interval",
        FieldType(K.INTERVAL),
        family_values,
        (Column("interval", quoted),),
        tuple(Column(sql_type, quoted) for sql_type in ("char(60)", "varchar(60)", *TEXTS)),
    )


def uuids() -> Family:
    """Sixteen bytes, in every writing that a column takes."""
    plain_forms = [f"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380{n:03x}" for n in range(9)]
    plain_forms += ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
    family_values = tuple(same(text, text.upper(), f"{{{text}}}", text.replace("-", "")) for text in plain_forms)

    def digits(text: str) -> str:
        return text.strip("{}").replace("-", "")

    def hyphenated(text: str) -> str:
        found = digits(text)
        return quoted("-".join((found[:8], found[8:12], found[12:16], found[16:20], found[20:])))

    return Family(
        "uuid",
        FieldType(K.UUID),
        family_values,
        (
            Column("uuid", quoted),
            Column("bytea", lambda text: f"'\\x{digits(text)}'", writes=False),
            Column("char(36)", hyphenated),
            *(Column(sql_type, quoted) for sql_type in ("text", "varchar(60)", "citext", "xml")),
        ),
        (
            Column("binary(16)", lambda text: f"x'{digits(text)}'", writes=False),
            Column("char(36)", hyphenated),
            *(Column(sql_type, quoted) for sql_type in ("varchar(60)", *TEXTS)),
        ),
    )


def documents() -> Family:
    """JSON by what it says."""
    family_values = (
        same('{"a":1,"b":[1,2,100]}', '{"b": [1, 2.0, 1e2], "a": 1}', ' {"a":1.0,\n"b":[1,2,100]}'),
        same("0", "-0.0", "0e5"),
        same('"é 💶"', '"\\u00e9 \\ud83d\\udcb6"'),
        *values("{}", "[]", "null", '"text"', "true", '"1"', "1", "[1,2]", "[2,1]", '{"a":null}', '""'),
        *values("12345678901234567890123", "9007199254740993", "9007199254740992", "1e-400", "0.1"),
        *values('{"b":{"y":null,"x":"z"},"a":[]}', '["NULL"]', '"trailing  "'),
    )
    # A value that is JSON's null is not NULL.
    named = tuple(Value(f"json {value.name}", value.writings, value.only) for value in family_values)
    return Family(
        "json",
        FieldType(K.JSON),
        named,
        tuple(Column(sql_type, quoted) for sql_type in ("json", "jsonb", "text", "varchar(500)")),
        tuple(Column(sql_type, escaped) for sql_type in ("json", "longtext", "mediumtext", "text")),
    )


def addresses() -> Family:
    """Network addresses; the whole address and its full prefix are one."""
    family_values = (
        same("10.0.0.1", "10.0.0.1/32"),
        same("2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:db8::1/128"),
        *values("10.0.0.1/24", "::1", "2001:db8::5/64", "0.0.0.0", "255.255.255.255", "192.168.0.0/16", "10.0.0.0/8"),  # noqa: S104 - a value
        *values("fe80::1", "::ffff:10.0.0.1", "2001:db8::/32"),
    )

    within = frozenset({"10.0.0.1/24", "2001:db8::5/64"})
    return Family(
        "inet",
        FieldType(K.INET),
        family_values,
        (
            Column("inet", quoted),
            Column("cidr", quoted, within),
            Column("text", quoted),
            Column("varchar(60)", quoted),
        ),
        (*(Column(sql_type, quoted) for sql_type in ("char(60)", "varchar(60)", *TEXTS)),),
    )


def bit_strings() -> Family:
    """Bits by the number that they make; PostgreSQL has more than 64 of them."""
    family_values = (
        *values("0", "1", "10", "101", "1111111", "10000000", "11111111", "100000000", "1000000000000000"),
        *values("1111111111111111", "1" + "0" * 63, "1" * 64),
        *values("1" * 100, "1" + "0" * 99, only=POSTGRES),
    )
    long = frozenset(value.name for value in family_values if len(value.name) > 16)

    def bits(text: str) -> str:
        return f"b'{text}'"

    return Family(
        "bits",
        FieldType(K.BITS),
        family_values,
        (
            Column("bit(16)", lambda text: bits(text.zfill(16)), long, writes=False),
            Column("bit(100)", lambda text: bits(text.zfill(100)), writes=False),
            Column("bit varying(100)", bits),
        ),
        (Column("bit(16)", bits, long), Column("bit(64)", bits)),
    )


def arrays(element: FieldType, sql_type: str, *writings: str) -> Family:
    """Lists of one type of element, whose order counts; MariaDB keeps them as JSON."""

    def in_braces(text: str) -> str:
        items = ("NULL" if item is None else json.dumps(str(item), ensure_ascii=False) for item in json.loads(text))
        return quoted("{" + ",".join(items) + "}")

    return Family(
        f"array of {element.kind.value}",
        FieldType(K.ARRAY, element=element),
        tuple(Value(f"list {text}", (text,)) for text in writings),
        (Column(f"{sql_type}[]", in_braces),),
        tuple(Column(sql_type, escaped) for sql_type in ("json", "longtext", "mediumtext", "text")),
    )


MATRIX: tuple[Family, ...] = (
    booleans(),
    *(integers(kind) for kind in INTEGER_RANGES),
    decimals(),
    singles(),
    doubles(),
    strings(),
    trimmed_strings(),
    case_blind_strings(),
    enums(),
    byte_strings(),
    dates(),
    times(),
    wall_clocks(),
    clocks_of_paris(),
    instants(),
    instants_of_paris(),
    instants_to_the_millisecond(),
    intervals(),
    uuids(),
    documents(),
    addresses(),
    bit_strings(),
    arrays(
        FieldType(K.INT32),
        "integer",
        *("[]", "[null]", "[1,2,null]", "[2,1,null]", "[-5]", "[0]", "[1]", "[1,1]", "[2147483647]", "[-2147483648]"),
    ),
    arrays(
        FieldType(K.STRING),
        "text",
        *(
            "[]",
            "[null]",
            '["NULL"]',
            '[""]',
            '["x","y z"]',
            '["x,y z"]',
            '["a\\"b\\\\c"]',
            '["💶"]',
            '["{}"]',
            '["é"]',
        ),
    ),
    arrays(
        FieldType(K.DECIMAL),
        "numeric",
        *("[]", "[null]", '["1.50",null]', '["12345678901234567890.5"]', '["0"]', '["-0.0001"]', '["10"]', '["1","5"]'),
    ),
    arrays(FieldType(K.FLOAT64), "double precision", "[]", "[0.1,1e300,null]", "[0.1]", "[-2.5]", "[5e-324]"),
    arrays(FieldType(K.BOOL), "boolean", "[]", "[true,false,null]", "[false,true]", "[true]"),
    arrays(FieldType(K.DATE), "date", "[]", '["2026-02-28",null]', '["1970-01-01"]', '["9999-12-31"]'),
    arrays(FieldType(K.UUID), "uuid", "[]", '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'),
    arrays(FieldType(K.INSTANT), "timestamptz", "[]", '["2026-02-28 12:34:56.789012+00"]', "[null]"),
)


def sizes() -> str:
    """Tell how large the matrix is."""
    pairs = [(family, one, other) for family in MATRIX for one in family.postgres for other in family.mariadb]
    wide = sum(
        len({value.name for value, _ in family.held(POSTGRES, one)} & {v.name for v, _ in family.held(MARIADB, other)})
        >= EDGES
        for family, one, other in pairs
    )
    columns = {kind: sum(len(family.columns(kind)) for family in MATRIX) for kind in (POSTGRES, MARIADB)}
    values_told = sum(len(family.values) for family in MATRIX)
    return (
        f"{len(MATRIX)} canonical types with {values_told} values, {columns[POSTGRES]} columns of PostgreSQL and "
        f"{columns[MARIADB]} of MariaDB, {len(pairs)} pairs, {wide} of them with {EDGES} values and more"
    )


def _large(name: str, type_: FieldType, sql_type: str, expression: str) -> Family:
    return Family(name, type_, (Value(name, (expression,)),), (Column(sql_type, plain),))


_MANY = "FROM generate_series(1, 9000) i)"

LARGE: tuple[Family, ...] = (
    _large("text", FieldType(K.STRING), "text", f"(SELECT string_agg(md5(i::text), '') {_MANY}"),
    _large("bytes", FieldType(K.BYTES), "bytea", f"(SELECT string_agg(md5(i::text), '')::bytea {_MANY}"),
    _large("json", FieldType(K.JSON), "json", f"(SELECT json_agg(md5(i::text)) {_MANY}"),
    _large("jsonb", FieldType(K.JSON), "jsonb", f"(SELECT jsonb_agg(md5(i::text)) {_MANY}"),
    _large("numeric", FieldType(K.DECIMAL), "numeric", f"(SELECT string_agg(i::text, '')::numeric {_MANY}"),
    _large(
        "texts",
        FieldType(K.ARRAY, element=FieldType(K.STRING)),
        "text[]",
        f"(SELECT array_agg(md5(i::text)) {_MANY}",
    ),
    _large(
        "integers",
        FieldType(K.ARRAY, element=FieldType(K.INT32)),
        "integer[]",
        f"(SELECT array_agg(hashint4(i)) {_MANY}",
    ),
    _large(
        "bigints",
        FieldType(K.ARRAY, element=FieldType(K.INT64)),
        "bigint[]",
        f"(SELECT array_agg(hashint8extended(i, 0)) {_MANY}",
    ),
    _large(
        "uuids",
        FieldType(K.ARRAY, element=FieldType(K.UUID)),
        "uuid[]",
        f"(SELECT array_agg(md5(i::text)::uuid) {_MANY}",
    ),
)
"""Values of PostgreSQL so large that an update of another column leaves them out of the log."""
