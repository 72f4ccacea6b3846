"""The text of statements on one row, and of one on many that are alike."""

from __future__ import annotations

from app.adapters.sql_statements import RowStatement, Verb, alike, in_block, in_one
from app.adapters.sql_values import text_array

TYPES = {'"id"': "bigint", '"a"': "text", '"b"': "numeric"}


def update(number: int, text: str | None = "x") -> RowStatement:
    """Return an update of one row."""
    return RowStatement(Verb.UPDATE, "t", ('"a"', '"b"'), ('"id"',), (text, "1.5", str(number)))


def test_an_array_holds_each_value_as_it_is() -> None:
    """Whatever means something in an array's text stands between quotes, behind a backslash; only NULL does not."""
    odd = ['{"a",NULL}', "b\\c", "NULL", "", None, b"\x00\xff"]
    assert text_array(odd) == r'{"{\"a\",NULL}","b\\c","NULL","",NULL,"\\x00ff"}'


def test_updates_of_the_same_columns_are_one_on_arrays() -> None:
    """Each column's values travel as one parameter, and are read as their column's type."""
    text, parameters = in_one([update(1), update(2, None)], TYPES)
    assert text == (
        'UPDATE t AS driftline_old SET "a" = driftline_new.c0::text, "b" = driftline_new.c1::numeric'
        " FROM unnest(%s::text[], %s::text[], %s::text[]) AS driftline_new(c0, c1, c2)"
        ' WHERE driftline_old."id" = driftline_new.c2::bigint'
    )
    assert parameters == ['{"x",NULL}', '{"1.5","1.5"}', '{"1","2"}']


def test_inserts_and_deletes_are_one_too() -> None:
    """An insert keeps what stands before its values."""
    columns, way = ('"id"', '"a"'), "OVERRIDING SYSTEM VALUE "
    inserts = [RowStatement(Verb.INSERT, "t", columns, (), (n, "x"), way=way) for n in "12"]
    assert in_one(inserts, TYPES)[0] == (
        'INSERT INTO t ("id", "a") OVERRIDING SYSTEM VALUE SELECT driftline_new.c0::bigint, driftline_new.c1::text'
        " FROM unnest(%s::text[], %s::text[]) AS driftline_new(c0, c1)"
    )
    deletes = [RowStatement(Verb.DELETE, "t", (), ('"id"',), (n,)) for n in "12"]
    assert in_one(deletes, TYPES)[0] == (
        "DELETE FROM t AS driftline_old USING unnest(%s::text[]) AS driftline_new(c0)"
        ' WHERE driftline_old."id" = driftline_new.c0::bigint'
    )


def test_a_block_counts_what_each_of_its_statements_wrote() -> None:
    """In a variable of the session, which can be no column's name."""
    text, parameters = in_block([update(1), update(2)])
    one = 'UPDATE t SET "a" = %s, "b" = %s WHERE "id" = %s;SET @driftline_written = @driftline_written + ROW_COUNT();'
    assert text == f"BEGIN NOT ATOMIC SET @driftline_written = 0;{one}{one}SELECT @driftline_written;END"
    assert parameters == ["x", "1.5", "1", "x", "1.5", "2"]


def test_statements_are_put_together_by_their_form_and_not_without_end() -> None:
    """The forms in the order in which they come; what is large goes in portions, one row at least in each."""
    delete = RowStatement(Verb.DELETE, "t", (), ('"id"',), ("9",))
    assert list(alike([update(1), delete, update(2)])) == [[update(1), update(2)], [delete]]
    large = [update(n, "x" * 600_000) for n in range(3)]
    assert list(alike(large)) == [[each] for each in large]
