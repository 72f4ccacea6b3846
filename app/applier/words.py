"""What people have said and been shown: words on batches, the switch and rehearsals, read from their topics' beginning.

The applier starts stopped: without an approver's signed `resume` nothing is written, also after a restart. A file on
this host stops it too, for whoever cannot reach Kafka. Each word is judged by whom the deployment trusts when it is
read, and so again by each start; one that is refused is kept until somebody has told of it, unless that was done before
(`app.applier.word_reader`). Kept is only what may count, and of what is refused no more than is told of one by one:
nobody fills the memory without a trusted key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaException

from app.applier.belief import Belief
from app.applier.word_reader import Log, Place, WordReader
from app.codec.control import KEY, decode_control
from app.core.approval import Word
from app.core.command import Approval, RefusalReason, RepairCommand
from app.core.errors import Undecodable, Unready
from app.core.limits import REFUSED_WORDS_TOLD
from app.core.pace import LogLags
from app.core.quarantine import Shards
from app.core.rehearsal import Rehearsal
from app.core.shard import shard_of
from app.core.signing import DIGEST_BYTES, member_of
from app.core.status import StatusReport
from app.core.switch import Control, Said, Switch
from app.core.trust import SignerRole

_CATCH_UP_S: Final = 30.0
_WAIT_S: Final = 0.005
_WORDS_AT_ONCE: Final = 100
_CONTROL_AT_ONCE: Final = 10_000
"""A stop is heard by the next look, whatever stands before it, unless that is more than this."""
_TRUST_ENDED: Final = frozenset({RefusalReason.UNKNOWN_KEY, RefusalReason.OUTDATED_KEY})


class WordCodec(Protocol):
    """Reads people's words, and what was shown to people."""

    def read_approval(self, value: bytes | None) -> Approval:
        """Decode a person's word; `Undecodable` if it is none."""
        ...

    def read_rehearsal(self, value: bytes | None) -> Rehearsal:
        """Decode what came of trying a command; `Undecodable` if it is none."""
        ...

    def read_status(self, value: bytes | None) -> StatusReport:
        """Decode what a worker says of one table; `Undecodable` if it is none."""
        ...


class Ends(Protocol):
    """Asks the broker where partitions end."""

    def offsets(self, partitions: Iterable[Place], *, latest: bool) -> dict[Place, int]:
        """Return the earliest or latest offsets; `Unready` if the broker does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class RefusedWord:
    """A person's word that is not heard, why, and where it stands. `name` is the batch, or what is switched.

    `others` were refused behind it for the same reason, up to the offset `through`, and are not kept one by one.
    """

    name: bytes
    reason: RefusalReason
    topic: str
    partition: int
    offset: int
    others: int = 0
    through: int = 0


@dataclass(frozen=True, slots=True)
class WordTopics:
    """The names of the topics that are read besides commands: of statuses only what comes from now on."""

    approvals: str
    control: str
    rehearsals: str
    statuses: str


class Words:
    """What was said of commands, whether repairs may go on, and how far change capture is behind.

    `control` and `others` are consumers of one group: two, so that nothing that stands on other topics delays a stop.
    """

    def __init__(
        self,
        control: Consumer,
        others: Consumer,
        ends: Ends,
        topics: WordTopics,
        codec: WordCodec,
        log: Log,
        belief: Belief,
        now_wall_ms: Callable[[], int],
        panic_file: Path,
        lags: LogLags,
    ) -> None:
        self._control = WordReader(control, _CONTROL_AT_ONCE, [topics.control])
        self._others = WordReader(others, _WORDS_AT_ONCE, [topics.approvals, topics.rehearsals], [topics.statuses])
        self._ends = ends
        self._topics = topics
        self._codec = codec
        self._log = log
        self._belief = belief
        self._now_wall_ms = now_wall_ms
        self._by_member: dict[bytes, list[Word]] = {}
        self._asked: dict[bytes, dict[bytes, Approval]] = {}
        self._rehearsed: dict[bytes, int] = {}
        self._answered: dict[tuple[bytes, bytes], int] = {}
        self._heard: set[tuple[int, bytes]] = set()
        self._panic_file = panic_file
        self.lags = lags
        self._switch = Switch()
        self._lost_resume: RefusalReason | None = None
        self.shards = Shards()
        self._refused: list[RefusedWord] = []
        self._refused_too: dict[tuple[str, int, RefusalReason], RefusedWord] = {}

    @property
    def is_stopped(self) -> bool:
        """Tell whether nothing may be written, by what was read so far and by the file on this host."""
        return not self._switch.is_on or self._panic_file.exists()

    def asks_to_stop(self) -> bool:
        """Look now whether somebody has said stop."""
        self._control.take(self._take)
        return self.is_stopped

    def is_quarantined(self, command: RepairCommand) -> bool:
        """Tell whether repairs stop in a command's shard, by what was read so far."""
        return self.shards.is_quarantined(shard_of(command))

    def start(self) -> None:
        """Read everything that was said so far; `Unready` while the topics cannot be read."""
        try:
            for reader in (self._control, self._others):
                reader.start()
        except KafkaException as error:
            raise Unready(f"Kafka does not answer: {error.args[0].str()}", hint="is the broker up?") from error
        self.catch_up()
        if self._lost_resume is not None and not self._switch.is_on:
            what = "who let them go on is not trusted any more: an approver must say `driftline resume`"
            self._log.warning("repairs are stopped", what=what, reason=self._lost_resume.value)

    def words_on(self, command: RepairCommand) -> Sequence[Word]:
        """Return what was said of exactly this command, as far as it was read."""
        # Mostly nobody has said anything, and to name the member is dear.
        return self._by_member.get(member_of(self._belief.deployment, command), ()) if self._by_member else ()

    def asked_of(self, command: RepairCommand) -> Sequence[bytes]:
        """Return the batches that are to be rehearsed now, that exactly this command is in and was not tried for."""
        member, now_ms = member_of(self._belief.deployment, command), self._now_wall_ms()
        return [
            batch_id
            for batch_id, word in self._asked.get(member, {}).items()
            if now_ms < word.expires_at_ms and self._answered.get((batch_id, member), -1) < word.said_at_ms
        ]

    def rehearsed_at_ms(self, command: RepairCommand) -> int | None:
        """Return when exactly this command was first rehearsed, as far as it was read; None if it was not."""
        return self._rehearsed.get(member_of(self._belief.deployment, command))

    def to_tell(self) -> Sequence[RefusedWord]:
        """Return what was refused and not told of so far; what is refused from now on stands behind it."""
        self._refused += self._refused_too.values()
        self._refused_too.clear()
        return self._refused

    def were_told(self) -> None:
        """Note that somebody has told of all that was refused so far: it is history from now on."""
        self._refused.clear()
        self._refused_too.clear()
        for reader in (self._control, self._others):
            reader.were_told(self._log)

    def poll(self) -> None:
        """Take what has come, without waiting."""
        # A stop that was said meanwhile is heard before whatever is done next.
        for reader in (self._others, self._control):
            reader.take(self._take)

    def catch_up(self) -> None:
        """Read up to the present end; `Unready` if that takes too long."""
        deadline = time.monotonic() + _CATCH_UP_S
        readers = (self._control, self._others)
        try:
            # Asked on another connection: on the consumer's own, each question waits behind a fetch.
            ends = self._ends.offsets([place for reader in readers for place in reader.places], latest=True)
            while behind := [reader for reader in readers if reader.lacks(ends)]:
                for reader in behind:
                    reader.take(self._take, _WAIT_S)
                if time.monotonic() > deadline:
                    raise Unready("approvals cannot be read to their end", hint="is the broker up?")
        except KafkaException as error:
            raise Unready(f"Kafka does not answer: {error.args[0].str()}", hint="is the broker up?") from error

    def _take(self, message: Any, is_history: bool) -> None:  # noqa: ANN401, FBT001 - confluent_kafka's message
        """Take a record in. Whatever it holds, those behind it are heard; `Unready` while nobody knows the signers."""
        topic = message.topic()
        try:
            if topic == self._topics.control:
                self._take_switch(decode_control(message.value()), message, is_history=is_history)
            elif topic == self._topics.statuses:
                self.lags.take(self._codec.read_status(message.value()))
            elif topic == self._topics.rehearsals:
                self._see(self._codec.read_rehearsal(message.value()))
            else:
                self._hear(self._codec.read_approval(message.value()), message, is_history=is_history)
        except Unready:
            raise
        except Exception as fault:  # noqa: BLE001 - who wrote it chose what to raise here, and the next may say stop
            if not is_history:
                what = fault.what if isinstance(fault, Undecodable) else type(fault).__name__
                self._log.warning("a word cannot be read", what=what, security=3, **_place(message))

    def _hear(self, word: Approval, message: Any, *, is_history: bool) -> None:  # noqa: ANN401
        """Take a word in. A yes whose time is over stays known, so that an outcome can say why."""
        now_ms = self._now_wall_ms()
        is_final = not word.approved and not word.rehearses
        if is_history and not is_final and now_ms >= word.expires_at_ms:
            # Whoever signed it, it counts no more.
            return
        no = self._belief.refusal_of(word, now_ms)
        said = (message.partition(), word.signature)
        if no is None and said in self._heard:
            no = RefusalReason.REPLAYED
        if no is not None and not is_history:
            self._refuse(word.batch_id[:DIGEST_BYTES], no, message)
        if no not in {None, RefusalReason.APPROVAL_EXPIRED}:
            return
        self._heard.add(said)
        heard = Word(word.key_id, word.approved, word.said_at_ms, word.expires_at_ms)
        for member in word.members:
            if word.rehearses:
                self._asked.setdefault(member, {})[word.batch_id] = word
                continue
            words = self._by_member.setdefault(member, [])
            # The same word stands in every partition that it speaks of.
            if heard not in words:
                words.append(heard)

    def _see(self, shown: Rehearsal) -> None:
        """Note when a command was first tried, and what it was last tried for."""
        self._rehearsed.setdefault(shown.member, shown.at_ms)
        self._answered[shown.batch_id, shown.member] = shown.at_ms

    def _refuse(self, name: bytes, no: RefusalReason, message: Any) -> None:  # noqa: ANN401
        word = RefusedWord(name, no, message.topic(), message.partition(), message.offset())
        if len(self._refused) < REFUSED_WORDS_TOLD:
            self._refused.append(word)
            return
        place = (word.topic, word.partition, no)
        first = self._refused_too.get(place)
        more = replace(first, others=first.others + 1, through=word.offset) if first else word
        self._refused_too[place] = more

    def _take_switch(self, word: Control, message: Any, *, is_history: bool) -> None:  # noqa: ANN401
        if word.said is Said.RESUME:
            no = self._belief.distrust(SignerRole.APPROVER, word, self._now_wall_ms())
            if no is not None and not is_history:
                self._refuse(KEY, no, message)
            elif no in _TRUST_ENDED:
                self._lost_resume = no
            if no is not None:
                return
        told = {"actor": word.by, **_place(message)}
        if word.shard:
            is_taken = self.shards.after(word, message.offset())
            self._log.warning("a shard is told of", what=word.said.value, reason=word.why, **told)
            if is_taken or word.said is Said.RESUME:
                return
        before, self._switch = self._switch, self._switch.after(word, message.offset())
        if before.is_on is not self._switch.is_on:
            self._log.info("repairs go on" if self._switch.is_on else "repairs are stopped", **told)

    def close(self) -> None:
        """Let the connections go."""
        for reader in (self._control, self._others):
            reader.close()


def _place(message: Any) -> dict[str, object]:  # noqa: ANN401 - confluent_kafka's message
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
