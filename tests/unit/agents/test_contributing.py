"""What rows add to aggregates goes to one partition, under links without holes, beside the rows themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from app.agents.contributing import ContributingRowReader
from app.agents.ingest import Role, Source
from app.core.aggregate_fold import partition_of_aggregates
from app.core.contract import Aggregate, Measure
from app.core.contribution import NOTHING, UNREADABLE, Shares
from app.core.digest import Dialect, RowDigester
from app.core.observation import PRESENT, Contributions, Mark, RowBlock, Truncated
from tests.unit.agents.ingest_bench import CONTRACT, KEY, TARGETS, Bench, text

COUNTED = replace(CONTRACT, aggregates=(Aggregate("names", Measure.DISTINCT, "name"),))
TARGET = partition_of_aggregates(CONTRACT.number, TARGETS)


def _bench() -> Bench:
    bench = Bench()
    digester = RowDigester(COUNTED, "pg", Dialect.POSTGRES_CDC, KEY)
    rows = ContributingRowReader(COUNTED, "pg", digester, KEY, TARGETS, Dialect.POSTGRES_CDC)
    bench.ingest._sources["pg.items"] = Source("pg.items", "pg", Role.TABLE, bench.decoder, "items", rows)
    return bench


def _contributions(bench: Bench) -> list[Contributions]:
    assert not [o for o in bench.sent(1 - TARGET) if isinstance(o, Contributions)]
    return [o for o in bench.sent(TARGET) if isinstance(o, Contributions)]


def test_all_contributions_come_to_one_partition_whatever_rows_belong_where() -> None:
    """With the value of each row that is there, and nothing of one that is gone."""
    bench = _bench()
    texts = [text("u", n + 1, key=n, after={"id": n, "name": f"n{n % 2}"}) for n in range(6)]
    bench.take(bench.block(0, *texts, text("d", 7, key=3)))
    (part,) = _contributions(bench)
    assert part.offsets == list(range(7))
    shares = [Shares(COUNTED).of(value) for value in part.values[:6]]
    assert [s[0].value[-2:] for s in shares if s] == [b"n0", b"n1"] * 3
    assert (part.values[6], part.flags[6] & PRESENT) == (NOTHING, 0)
    assert part.rows[6] == part.rows[3]
    assert sum(len(o.keys) for t in range(TARGETS) for o in bench.sent(t) if isinstance(o, RowBlock)) == 7


def test_links_of_contributions_marks_and_truncates_leave_no_hole() -> None:
    """What reads contributions alone, with marks and truncates, follows the topic without a gap."""
    bench = _bench()
    for begin in range(0, 40, 4):
        rows = [text("u", begin + n + 1, key=n, after={"id": n, "name": "x"}) for n in range(2)]
        last = [None, text("u", begin + 4, key=9, after={"id": 9, "name": "y"})] if begin % 8 else [None, None]
        bench.take(bench.block(begin, *rows, text("t", begin + 3, key=None) if begin % 12 == 0 else None, last[1]))
        if begin % 3 == 0:
            bench.ingest.mark()
    bench.ingest.mark()
    links = []
    for observation in bench.sent(TARGET):
        if isinstance(observation, Contributions | Truncated):
            links.append(observation.link)
        elif isinstance(observation, Mark):
            links += [link for link in observation.links if link.topic == "pg.items"]
    assert links[0].begin == 0
    assert links[-1].end == 40
    assert all(after.begin <= before.end for before, after in pairwise(links))
    for part in _contributions(bench):
        assert all(part.link.begin <= offset < part.link.end for offset in part.offsets)


def test_rows_before_a_truncate_are_told_before_it() -> None:
    """Else they would be taken for rows that came after."""
    bench = _bench()
    row = text("u", 1, after={"id": 1, "name": "x"})
    bench.take(bench.block(0, row, text("t", 2, key=None), text("u", 3, after={"id": 1, "name": "y"})))
    told = [(type(o), o.link.end) for o in bench.sent(TARGET) if isinstance(o, Contributions | Truncated)]
    assert told == [(Contributions, 1), (Truncated, 2), (Contributions, 3)]


def test_many_contributions_are_told_in_parts_that_a_broker_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each under the link of its own records."""
    monkeypatch.setattr("app.agents.contributing.BLOCK_BYTES_MAX", 200)
    bench = _bench()
    bench.take(bench.block(0, *(text("u", n + 1, key=n, after={"id": n, "name": "x"}) for n in range(9)), end=12))
    parts = _contributions(bench)
    assert len(parts) > 2
    assert [part.offsets for part in parts[:-1]] == [list(range(p.link.begin, p.link.end)) for p in parts[:-1]]
    assert [before.link.end for before in parts[:-1]] == [after.link.begin for after in parts[1:]]
    assert parts[-1].link.end == 12


def test_a_row_that_cannot_be_read_is_told_as_such() -> None:
    """A record that is no record, a value that is missing, a key that has no canonical form."""
    bench = _bench()
    no_value, no_key = text("u", 2, key=2, after={"id": 2}), text("u", 3, after={"id": None, "name": "x"})
    good = text("u", 1, key=1, after={"id": 1, "name": "x"})
    bench.take(bench.block(0, good, no_value, no_key, "no json"))
    (part,) = _contributions(bench)
    assert part.values[1:] == [UNREADABLE] * 3
    assert part.values[0] != UNREADABLE


def test_a_table_without_aggregates_sends_none() -> None:
    """Nobody pays for what no contract asks for."""
    bench = Bench()
    bench.take(bench.block(0, text("u", 1, after={"id": 1, "name": "x"})))
    assert _contributions(bench) == []
