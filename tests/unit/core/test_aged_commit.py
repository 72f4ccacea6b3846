"""A commit that writes what had changed when the one before it was made: once, and never more than was covered."""

from __future__ import annotations

from app.core.finding import Stage
from app.core.fold import row_key
from app.core.journal import Write
from app.core.observation import Observation
from app.core.state_forms import decode
from tests.unit.core.story import Story, digest

ROW = row_key(7, b"k")


class Committing(Story):
    """A worker whose commits are made by hand; `covered` is how many observations a restart need not see again."""

    def __init__(self) -> None:
        self.observed: list[Observation] = []
        self.covered = self.aged = 0
        super().__init__()
        for store in "AR":
            self.row(store, "one", snapshot=True)
        self.until(500, 2_000)
        self.commits = False
        self.commit()
        self.commit()

    def observe(self, observation: Observation) -> None:
        """Fold one observation, and keep it."""
        self.observed.append(observation)
        super().observe(observation)

    def commit(self) -> list[Write]:
        """Commit, and return what was written."""
        writes = self.shard.flush_aged()
        self.write(writes)
        self.covered, self.aged = self.aged, len(self.observed)
        return writes

    def die(self) -> None:
        """Begin anew from the table, and read again what was not committed."""
        again = self.observed[self.covered :]
        self.restart()
        for observation in again:
            super().observe(observation)


def values(story: Committing) -> list[bytes]:
    """Return what both stores' rows are, as the table has them."""
    return [side.stays[-1].digest for side in decode(story.table[ROW]).sides]


def test_a_row_that_follows_between_two_commits_is_written_once() -> None:
    """The commit between the authority's change and the replica's leaves it alone; the next one finds both."""
    story = Committing()
    story.row("A", "two")
    assert ROW not in dict(story.commit())
    story.row("R", "two")
    assert ROW in dict(story.commit())
    assert values(story) == [digest("two"), digest("two")]
    assert ROW not in dict(story.commit())


def test_what_no_commit_has_written_comes_again_and_is_told() -> None:
    """A commit that said more of the logs than of the rows would let a change be taken for one that is known."""
    story = Committing()
    story.row("A", "two")
    story.commit()
    story.die()
    story.until(2_500, 5_000)
    assert story.stages() == [Stage.CONFIRMED]


def test_what_is_written_ahead_of_its_chains_comes_again_and_changes_nothing() -> None:
    """The replica's change is in the row already, and its chain is not."""
    story = Committing()
    story.row("A", "two")
    story.commit()
    story.row("R", "two")
    story.row("R", "rogue")
    story.row("R", "two")
    story.commit()
    story.die()
    story.until(2_500, 5_000)
    assert story.stages() == []
    story.commit()
    story.commit()
    assert values(story) == [digest("two"), digest("two")]


def test_a_flush_in_between_writes_everything() -> None:
    """What is read from the table, as by a sweep, must be what is known; nothing of it waits for a commit."""
    story = Committing()
    story.commit()
    for store in "AR":
        story.row(store, "two")
    story.write(story.shard.flush())
    assert values(story) == [digest("two"), digest("two")]
    assert story.shard.flush_aged() == []
    story.covered = len(story.observed)
    story.die()
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    assert story.stages()[:1] == [Stage.CONFIRMED]


def test_nothing_that_waits_for_a_commit_is_put_to_sleep() -> None:
    """Its state would be looked for in the table, where it is not."""
    story = Committing()
    story.awake_rows_max = story.shard.awake_rows_max = 0
    story.row("A", "two")
    story.commit()
    story.shard.wake({})
    assert ROW in story.shard.live[7].states
    story.commit()
    assert ROW not in story.shard.live[7].states
    story.until(2_500, 5_000)
    assert story.stages() == [Stage.CONFIRMED]
