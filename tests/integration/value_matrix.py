"""What both databases are asked to hold: for each column its type, its canonical type, and values at the edges."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.contract import FieldKind as K
from app.core.contract import FieldType


@dataclass(frozen=True)
class Column:
    """One column of the matrix: values are SQL literals.

    `writes`: a value read may be bound and written again. `refused`: values that the log carries as what cannot be
    read. `misread`: values that the connector's snapshot, though not its stream, carries as others.
    """

    name: str
    sql_type: str
    type: FieldType
    values: tuple[str, ...]
    encoding: str = ""
    writes: bool = True
    refused: tuple[str, ...] = ()
    misread: tuple[str, ...] = ()


def texts(*values: str) -> tuple[str, ...]:
    """Return values as quoted literals."""
    return tuple("'" + value.replace("'", "''") + "'" for value in values)


_STAMPS = (
    "2026-02-28 12:34:56.789012",
    "1970-01-01 00:00:00",
    "1969-12-31 23:59:59.999999",
    "1582-10-10 01:02:03",
    "0001-01-01 00:00:00",
    "9999-12-31 23:59:59.999999",
)
_POSTGRES_STAMPS = (*_STAMPS, "0044-03-15 01:02:03.4 BC", "294276-12-31 23:59:59.999999", "infinity", "-infinity")
_FLOATS = ("0", "-0.0", "1.5", "0.1", "-123.456")
_DOUBLES = (
    *_FLOATS,
    "0.30000000000000004",
    "1e22",
    "1.7976931348623157e308",
    "5e-324",
    "2.2250738585072014e-308",
    "-1.2345678901234567e-300",
    "9007199254740993",
)
_SINGLES = (*_FLOATS, "3.4028234e38", "1.17549435e-38", "16777217", "0.333333333")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_WORDS = ("hello", "", " trailing  ", 'it\'s "quoted" \\ back', "Grüße 💶🏴‍☠️", "e\u0301 é", "line\nbreak\ttab", "NULL")
_JSONS = (
    '{"a": 1, "b":[1,2.0,1e2]}',
    "{}",
    "[]",
    "null",
    '"text"',
    "12345678901234567890123",
    "-0.0",
    "true",
    '{"b":{"y":null,"x":"\\u00e9 💶"},"a":[]}',
)

POSTGRES: tuple[Column, ...] = (
    Column("b", "boolean", FieldType(K.BOOL), ("true", "false")),
    Column("bit1", "bit(1)", FieldType(K.BOOL), ("B'1'", "B'0'"), writes=False),
    Column("i2", "smallint", FieldType(K.INT16), ("-32768", "32767")),
    Column("i1", "smallint", FieldType(K.INT8), ("-128", "127")),
    Column("i4", "integer", FieldType(K.INT32), ("-2147483648", "2147483647", "0")),
    Column("i8", "bigint", FieldType(K.INT64), ("-9223372036854775808", "9223372036854775807", "9007199254740993")),
    Column("u8", "numeric(20,0)", FieldType(K.UINT64), ("0", "9223372036854775808", "18446744073709551615", "1234")),
    Column("d", "numeric(12,4)", FieldType(K.DECIMAL), ("12345.6789", "-0.0001", "0", "10", "100.5000", "'NaN'")),
    Column(
        "dn",
        "numeric",
        FieldType(K.DECIMAL),
        ("3.14159265358979323846", "9" * 65, "1e50", "1e-20", "0.0", "-7.50", *texts(*_NOT_FINITE)),
    ),
    Column("mny", "money", FieldType(K.DECIMAL), ("12.34", "-5", "1234567.89"), writes=False),
    Column(
        "df8", "double precision", FieldType(K.DECIMAL), ("1.2345678901234567e19", "0.1", "-0.0", "5e-324", "'NaN'")
    ),
    Column("f4", "real", FieldType(K.FLOAT32), texts(*_SINGLES, "1e-45", *_NOT_FINITE)),
    Column("f8", "double precision", FieldType(K.FLOAT64), texts(*_DOUBLES, *_NOT_FINITE)),
    Column("vc", "varchar(40)", FieldType(K.STRING), texts(*_WORDS)),
    Column("tx", "text", FieldType(K.STRING), texts(*_WORDS)),
    Column("ch", "char(5)", FieldType(K.STRING), texts("ab", "", "abcde", " x")),
    Column("cht", "char(5)", FieldType(K.STRING, collation="trim"), texts("ab", "abcde")),
    Column("en", "mood", FieldType(K.ENUM), texts("busy", "so lala")),
    Column("by", "bytea", FieldType(K.BYTES), ("''", "'\\xdeadbeef'", "'\\x0000'", "'\\xff'")),
    Column(
        "dt",
        "date",
        FieldType(K.DATE),
        texts(
            "2026-02-28",
            "1970-01-01",
            "1969-12-31",
            "0001-01-01",
            "1582-10-10",
            "9999-12-31",
            "0044-03-15 BC",
            "5874897-12-31",
            "infinity",
            "-infinity",
        ),
        misread=texts("1582-10-10", "0044-03-15 BC"),  # a day that the Julian calendar lacks; an era that is lost
    ),
    Column("tm", "time", FieldType(K.TIME), texts("00:00", "24:00", "23:59:59.999999", "12:34:56.5")),
    Column("tm3", "time(3)", FieldType(K.TIME), texts("12:34:56.789", "24:00")),
    Column("tmz", "timetz", FieldType(K.TIME), texts("23:59:59.123456+02", "01:00:00+05:30"), writes=False),
    Column(
        "ts",
        "timestamp",
        FieldType(K.LOCAL_TIMESTAMP),
        texts(*_POSTGRES_STAMPS),
        refused=texts("294276-12-31 23:59:59.999999"),
    ),
    Column("ts3", "timestamp(3)", FieldType(K.LOCAL_TIMESTAMP), texts(*_STAMPS[:4]), encoding="millis"),
    Column("ts0", "timestamp(0)", FieldType(K.LOCAL_TIMESTAMP), texts(*_STAMPS[:4]), encoding="millis"),
    Column("tsu", "timestamp", FieldType(K.INSTANT), texts(*_STAMPS)),
    Column(
        "tsp",
        "timestamp",
        FieldType(K.INSTANT, zone="Europe/Paris"),
        texts("2026-02-28 12:34:56.789012", "2026-07-01 00:00"),
    ),
    Column("tz", "timestamptz", FieldType(K.INSTANT), texts(*_POSTGRES_STAMPS)),
    Column("tz3", "timestamptz(3)", FieldType(K.INSTANT), texts(*_STAMPS[:4])),
    Column("tzd", "timestamptz", FieldType(K.INSTANT, precision=3), texts(*_STAMPS[:4])),
    Column(
        "tzl", "timestamptz", FieldType(K.LOCAL_TIMESTAMP, zone="Europe/Paris"), texts(*_STAMPS[:2], "2026-07-01 00:00")
    ),
    Column(
        "tzp",
        "timestamptz",
        FieldType(K.INSTANT, zone="Europe/Paris"),
        texts("2026-02-28 12:34:56.789012", "2026-07-01 00:00"),
    ),
    Column(
        "iv",
        "interval",
        FieldType(K.INTERVAL),
        texts(
            "1 day 02:00",
            "1 year -2 mons 3 days -04:05:06.789",
            "0",
            "-1 day",
            "100 years",
            "-00:00:00.000001",
            "1 mon -1 microsecond",
            "36:00:00",
        ),
    ),
    Column("uu", "uuid", FieldType(K.UUID), texts("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")),
    Column("js", "json", FieldType(K.JSON), texts(*_JSONS)),
    Column("jb", "jsonb", FieldType(K.JSON), texts(*_JSONS, '{"a":1,"a":2}')),
    Column("ai", "integer[]", FieldType(K.ARRAY, element=FieldType(K.INT32)), texts("{1,2,NULL}", "{}", "{-5}")),
    Column(
        "at",
        "text[]",
        FieldType(K.ARRAY, element=FieldType(K.STRING)),
        texts('{x,"y z",NULL,"","NULL","a\\"b\\\\c",💶}'),
    ),
    Column(
        "an", "numeric[]", FieldType(K.ARRAY, element=FieldType(K.DECIMAL)), texts("{1.50,NULL,12345678901234567890.5}")
    ),
    Column("af", "double precision[]", FieldType(K.ARRAY, element=FieldType(K.FLOAT64)), texts("{0.1,1e300,NULL}")),
    Column("ab", "boolean[]", FieldType(K.ARRAY, element=FieldType(K.BOOL)), texts("{t,f,NULL}")),
    Column("ad", "date[]", FieldType(K.ARRAY, element=FieldType(K.DATE)), texts("{2026-02-28,NULL}")),
    Column(
        "az",
        "timestamptz[]",
        FieldType(K.ARRAY, element=FieldType(K.INSTANT)),
        texts('{"2026-02-28 12:34:56.789012+00"}'),
    ),
    Column(
        "au", "uuid[]", FieldType(K.ARRAY, element=FieldType(K.UUID)), texts("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}")
    ),
    Column("ip", "inet", FieldType(K.INET), texts("10.0.0.1", "10.0.0.1/24", "::1", "2001:db8::5/64")),
    Column("cd", "cidr", FieldType(K.INET), texts("10.0.0.0/24", "10.0.0.1/32", "2001:db8::/32")),
)

MARIADB: tuple[Column, ...] = (
    Column("b", "boolean", FieldType(K.BOOL), ("1", "0", "2"), refused=("2",)),
    Column("bit1", "bit(1)", FieldType(K.BOOL), ("b'1'", "b'0'")),
    Column("i1", "tinyint", FieldType(K.INT8), ("-128", "127")),
    Column("i2", "smallint", FieldType(K.INT16), ("-32768", "32767")),
    Column("i3", "mediumint", FieldType(K.INT32), ("-8388608", "8388607")),
    Column("i4", "integer", FieldType(K.INT32), ("-2147483648", "2147483647")),
    Column("i8", "bigint", FieldType(K.INT64), ("-9223372036854775808", "9223372036854775807", "9007199254740993")),
    Column("u1", "tinyint unsigned", FieldType(K.UINT8), ("0", "255", "128")),
    Column("u2", "smallint unsigned", FieldType(K.UINT16), ("0", "65535", "32768")),
    Column("u4", "integer unsigned", FieldType(K.UINT32), ("0", "4294967295", "2147483648")),
    Column("u8", "bigint unsigned", FieldType(K.UINT64), ("0", "5", "9223372036854775808", "18446744073709551615")),
    Column("ud", "decimal(20,0)", FieldType(K.UINT64), ("0", "1234", "18446744073709551615")),
    Column("bits", "bit(16)", FieldType(K.UINT16), ("b'101'", "65535", "256", "0"), encoding="bits"),
    Column("yr", "year", FieldType(K.INT16), ("2026", "1970", "2069", "1901")),
    Column("d", "decimal(12,4)", FieldType(K.DECIMAL), ("12345.6789", "-0.0001", "0", "10", "100.5")),
    Column("dw", "decimal(65,0)", FieldType(K.DECIMAL), ("9" * 65, "-" + "9" * 65, "1")),
    Column("df", "decimal(65,30)", FieldType(K.DECIMAL), ("0." + "0" * 29 + "1", "9" * 35 + "." + "9" * 30)),
    Column("df8", "double", FieldType(K.DECIMAL), ("1.2345678901234567e19", "0.1", "-0.0", "1e-20", "1e50")),
    Column("f4", "float", FieldType(K.FLOAT32), _SINGLES),
    Column("f8", "double", FieldType(K.FLOAT64), _DOUBLES),
    Column("vc", "varchar(40)", FieldType(K.STRING), texts(*(word.replace("\\", "\\\\") for word in _WORDS))),
    Column("tx", "longtext", FieldType(K.STRING), texts(*(word.replace("\\", "\\\\") for word in _WORDS))),
    Column("ch", "char(5)", FieldType(K.STRING), texts("ab", "ab  ", "", " x")),
    Column("l1", "varchar(20) CHARACTER SET latin1", FieldType(K.STRING), texts("Grüße", "ÿ")),
    Column("u3", "varchar(20) CHARACTER SET utf8mb3", FieldType(K.STRING), texts("Grüße", "€")),
    Column("en", "enum('busy','so lala')", FieldType(K.ENUM), texts("busy", "so lala")),
    Column("st", "set('a','b','c')", FieldType(K.STRING), texts("a,c", "", "b")),
    Column("bn", "binary(4)", FieldType(K.BYTES), ("x'dead'", "x'00000000'", "x'deadbeef'")),
    Column("vb", "varbinary(20)", FieldType(K.BYTES), ("x''", "x'dead00'", "x'ff'")),
    Column("bl", "longblob", FieldType(K.BYTES), ("x''", "x'deadbeef'", "x'0000'")),
    Column(
        "dt",
        "date",
        FieldType(K.DATE),
        texts("2026-02-28", "1970-01-01", "1969-12-31", "1000-01-01", "9999-12-31", "0000-00-00"),
    ),
    Column("tm", "time", FieldType(K.TIME), texts("10:00:00", "-838:59:59", "838:59:59", "00:00:00")),
    Column(
        "tm6",
        "time(6)",
        FieldType(K.TIME),
        texts("12:34:56.789012", "-12:34:56.789012", "24:00:00", "-00:00:00.000001"),
    ),
    Column(
        "dm",
        "datetime",
        FieldType(K.LOCAL_TIMESTAMP),
        texts("2026-02-28 12:34:56", "1000-01-01 00:00:00"),
        encoding="millis",
    ),
    Column(
        "dm3",
        "datetime(3)",
        FieldType(K.LOCAL_TIMESTAMP),
        texts("2026-02-28 12:34:56.789", "9999-12-31 23:59:59.999"),
        encoding="millis",
    ),
    Column(
        "dm6",
        "datetime(6)",
        FieldType(K.LOCAL_TIMESTAMP),
        texts(_STAMPS[0], _STAMPS[2], "1000-01-01 00:00:00", _STAMPS[5], "0000-00-00 00:00:00"),
    ),
    Column("dmu", "datetime(6)", FieldType(K.INSTANT), texts(_STAMPS[0], _STAMPS[2])),
    Column("dmp", "datetime(6)", FieldType(K.INSTANT, zone="Europe/Paris"), texts(_STAMPS[0], "2026-07-01 00:00:00")),
    Column(
        "ts6",
        "timestamp(6) NULL",
        FieldType(K.INSTANT),
        texts(_STAMPS[0], "1970-01-01 00:00:01", "2038-01-19 03:14:07.999999"),
    ),
    Column("ts0", "timestamp(0) NULL", FieldType(K.INSTANT), texts("2026-02-28 12:34:56")),
    Column("tsp", "timestamp(6) NULL", FieldType(K.INSTANT, zone="Europe/Paris"), texts(_STAMPS[0]), encoding="utc"),
    Column("js", "json", FieldType(K.JSON), texts(*(value.replace("\\", "\\\\") for value in _JSONS))),
    Column("uu", "uuid", FieldType(K.UUID), texts("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")),
    Column(
        "ub",
        "binary(16)",
        FieldType(K.UUID),
        ("x'a0eebc999c0b4ef8bb6d6bb9bd380a11'", "x'a0eebc999c0b4ef8bb6d6bb9bd380000'"),
        writes=False,
    ),
    Column("uc", "char(36)", FieldType(K.UUID), texts("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")),
    Column("ip", "varchar(45)", FieldType(K.INET), texts("10.0.0.1", "2001:db8::5/64")),
    Column("iv", "varchar(60)", FieldType(K.INTERVAL), texts("P1Y-2M3DT-4H5M-6.5S", "P0Y0M1DT2H0M0S")),
    Column("an", "longtext", FieldType(K.ARRAY, element=FieldType(K.DECIMAL)), texts('["1.50",null]', "[]")),
)


# Values so large that an update of another column leaves them out of the log.
LARGE: tuple[Column, ...] = (
    Column("other", "integer", FieldType(K.INT32), ()),
    Column("t", "text", FieldType(K.STRING), ("(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)",)),
    Column(
        "y",
        "bytea",
        FieldType(K.BYTES),
        ("(SELECT string_agg(md5(i::text), '')::bytea FROM generate_series(1, 400) i)",),
    ),
    Column("j", "json", FieldType(K.JSON), ("(SELECT json_agg(md5(i::text)) FROM generate_series(1, 400) i)",)),
    Column("b", "jsonb", FieldType(K.JSON), ("(SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 400) i)",)),
    Column(
        "n",
        "numeric",
        FieldType(K.DECIMAL),
        ("(SELECT string_agg(i::text, '')::numeric FROM generate_series(1, 9000) i)",),
    ),
    Column(
        "at",
        "text[]",
        FieldType(K.ARRAY, element=FieldType(K.STRING)),
        ("(SELECT array_agg(md5(i::text)) FROM generate_series(1, 400) i)",),
    ),
    Column(
        "a4",
        "integer[]",
        FieldType(K.ARRAY, element=FieldType(K.INT32)),
        ("(SELECT array_agg(hashint4(i)) FROM generate_series(1, 9000) i)",),
    ),
    Column(
        "a8",
        "bigint[]",
        FieldType(K.ARRAY, element=FieldType(K.INT64)),
        ("(SELECT array_agg(hashint8extended(i, 0)) FROM generate_series(1, 9000) i)",),
    ),
    Column(
        "au",
        "uuid[]",
        FieldType(K.ARRAY, element=FieldType(K.UUID)),
        ("(SELECT array_agg(md5(i::text)::uuid) FROM generate_series(1, 900) i)",),
    ),
)
