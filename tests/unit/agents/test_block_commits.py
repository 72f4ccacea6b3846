"""Which offsets a commit commits, and when: those of the blocks that were done when the commit before began."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from app.agents.block_consumer import Block, BlockConsumer, FetchEpoch

AT = TP("observations", 0)


@dataclass
class Group:
    """A consumer without a broker: `committed` is what was, `written` how far the app had come at each flush."""

    consumer: Any = field(init=False)
    committed: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    done: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.consumer = BlockConsumer.__new__(BlockConsumer)
        self.consumer._open, self.consumer._aged = {AT: deque()}, {}
        self.consumer._epoch = FetchEpoch(0)
        self.consumer._committed_offset = {}
        self.consumer.app = SimpleNamespace(
            crashed=False,
            before_commit=[self._write],
            side_by_side=SimpleNamespace(forget=lambda: None),
        )
        self.consumer._thread = SimpleNamespace(call_thread=self._call, is_member=None)

    async def _call(self, *_: object) -> bool:
        return True

    async def _write(self) -> None:
        self.written.append(self.done[-1].end if self.done else 0)

    def read(self, begin: int, end: int) -> Block:
        """Take a block of the partition."""
        block = Block(AT, begin, end, [], self.consumer._epoch)
        self.consumer._open[AT].append(block)
        return block

    def finish(self, block: Block) -> None:
        """Be done with a block."""
        block.done()
        self.done.append(block)

    def commit(self) -> None:
        """Commit as Faust does: pick the offsets, and hand over those that are ahead of what is committed."""
        at = self.consumer._new_offset(AT)
        if at is not None and at > self.consumer._committed_offset.get(AT, 0):
            asyncio.run(self.consumer._commit_offsets({AT: at}))


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    """Give a consumer whose commits are noted in place of being sent."""
    made = Group()

    async def commit(consumer: Any, offsets: Mapping[TP, int], **_: object) -> bool:  # noqa: ANN401 - Faust's
        made.committed.append(offsets[AT])
        consumer._committed_offset |= offsets
        return True

    monkeypatch.setattr(driver.Consumer, "_commit_offsets", commit)
    return made


def test_a_commit_covers_what_was_done_when_the_one_before_began(group: Group) -> None:
    """What a commit writes had changed by then, so it must not commit what was done since."""
    first, second = group.read(0, 10), group.read(10, 20)
    group.finish(first)
    group.commit()
    assert group.committed == []
    group.finish(second)
    group.commit()
    assert (group.committed, group.written) == ([10], [10, 20])
    group.commit()
    assert group.committed == [10, 20]


def test_no_commit_jumps_over_a_block_that_is_not_done(group: Group) -> None:
    """A later block that is done waits for the one before it."""
    first, second = group.read(0, 10), group.read(10, 20)
    group.finish(second)
    group.commit()
    group.commit()
    assert group.written == []
    group.finish(first)
    assert group.consumer.has_uncommitted
    group.commit()
    assert group.consumer.has_uncommitted
    group.commit()
    assert group.committed == [20]
    assert not group.consumer.has_uncommitted


def test_what_was_done_before_a_seek_is_never_committed_behind_it(group: Group) -> None:
    """The same records come again, perhaps to another worker: neither now nor at the next commit."""
    group.finish(group.read(0, 10))
    group.commit()
    group.consumer._begin_epoch()
    group.commit()
    assert group.committed == []
    assert not group.consumer.has_uncommitted


def test_a_seek_while_a_commit_writes_ends_that_commit(group: Group) -> None:
    """Its steps wait for the broker, and partitions may move meanwhile."""
    group.finish(group.read(0, 10))
    group.commit()

    async def moved() -> None:
        group.consumer._begin_epoch()

    group.consumer.app.before_commit.append(moved)
    group.commit()
    assert group.written == [10, 10]
    assert group.committed == []


def test_what_is_in_hand_is_finished_before_offsets_are_picked(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest is done with its blocks when it has told how far it read: a commit asks for it, and waits for no mark."""
    block = group.read(0, 10)
    group.consumer.app.before_offsets = [lambda: group.finish(block)]

    async def force_commit(consumer: BlockConsumer, topics: None, **_: object) -> bool:
        del topics
        return consumer._new_offset(AT) == block.end

    monkeypatch.setattr(driver.Consumer, "force_commit", force_commit)
    assert asyncio.run(group.consumer.force_commit())
