"""Signatures that were checked ahead: the answers of the one who checks, whoever found them out and when."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from app.adapters.signing import verify
from app.adapters.verify_ahead import _TOGETHER, VerifyAhead
from app.applier.belief import Belief
from app.core.command import RefusalReason
from app.core.errors import Unready
from app.core.trust import Claim, SignerRole, Signers
from tests.signatures import ANNA, BERT, DEPLOYMENT, SIGNERS, resume_word

WAIT_S = 30.0


@dataclass
class Checks:
    """Says yes to whatever is named "true", and remembers who asked."""

    asked: list[tuple[bytes, str]] = field(default_factory=list)
    came_to: dict[bytes, threading.Event] = field(default_factory=dict)

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Answer, and tell which message it was."""
        del public_key
        self.asked.append((message, threading.current_thread().name))
        if message in self.came_to:
            self.came_to[message].set()
        return signature == b"true"


def _claims(*named: tuple[bytes, bytes]) -> list[Claim]:
    return [Claim(b"key", message, signature) for message, signature in named]


def test_what_was_expected_is_checked_once_beside_from_the_end_on() -> None:
    """Once the last but one is being checked the last one is known, and asking for it checks nothing."""
    checks = Checks(came_to={b"first": threading.Event()})
    ahead = VerifyAhead(checks)
    first, second, third = _claims((b"first", b"true"), (b"second", b"false"), (b"third", b"true"))
    ahead.expect([first, second, third])
    assert checks.came_to[b"first"].wait(WAIT_S)
    assert [message for message, _ in checks.asked] == [b"third", b"second", b"first"]
    assert threading.current_thread().name not in {who for _, who in checks.asked}
    assert [ahead(*third), ahead(*second)] == [True, False]
    assert len(checks.asked) == 3
    assert ahead(*third), "an answer is given once, and found out again"
    assert len(checks.asked) == 4


def test_one_transaction_after_another_is_checked_each_from_its_end_on() -> None:
    """Whoever asks comes to the first of a transaction while its last is checked beside."""
    count = 2 * _TOGETHER + 1
    checks = Checks(came_to={b"%d" % (count - 1): threading.Event()})
    VerifyAhead(checks).expect(_claims(*((b"%d" % number, b"true") for number in range(count))))
    assert checks.came_to[b"%d" % (count - 1)].wait(WAIT_S)
    order = [*range(_TOGETHER - 1, -1, -1), *range(2 * _TOGETHER - 1, _TOGETHER - 1, -1), count - 1]
    assert [message for message, _ in checks.asked] == [b"%d" % number for number in order]


def test_what_was_asked_for_meanwhile_is_not_checked_again_beside() -> None:
    """Who asks has found it out by himself, and does not ask twice."""
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    asked: list[bytes] = []

    def verify(_public_key: bytes, message: bytes, _signature: bytes) -> bool:
        asked.append(message)
        if message == b"third":
            began.set()
            assert go_on.wait(WAIT_S)
        if message == b"first":
            ended.set()
        return True

    ahead = VerifyAhead(verify)
    first, second, third = _claims((b"first", b"true"), (b"second", b"true"), (b"third", b"true"))
    ahead.expect([first, second, third])
    assert began.wait(WAIT_S)
    assert ahead(*second)
    go_on.set()
    assert ended.wait(WAIT_S)
    assert asked == [b"third", b"second", b"first"]


def test_an_answer_is_for_this_key_message_and_signature_alone() -> None:
    """Another signature over the same message is checked by itself."""
    checks = Checks(came_to={b"m": threading.Event()})
    ahead = VerifyAhead(checks)
    ahead.expect(_claims((b"m", b"true"), (b"other", b"true")))
    assert checks.came_to[b"m"].wait(WAIT_S)
    assert not ahead(b"key", b"other", b"false")
    assert ahead(b"another key", b"other", b"true")
    assert len(checks.asked) == 4


def test_what_was_expected_before_is_forgotten() -> None:
    """Answers do not pile up where nobody asks for them."""
    checks = Checks(came_to={b"a": threading.Event(), b"c": threading.Event()})
    ahead = VerifyAhead(checks)
    ahead.expect(_claims((b"a", b"true"), (b"b", b"true")))
    assert checks.came_to[b"a"].wait(WAIT_S)
    ahead.expect(_claims((b"c", b"true")))
    assert checks.came_to[b"c"].wait(WAIT_S)
    assert ahead(b"key", b"b", b"true")
    assert [message for message, _ in checks.asked].count(b"b") == 2


def test_who_is_trusted_is_asked_when_it_counts_and_not_when_it_was_expected() -> None:
    """A right signature of a key that was taken away meanwhile is refused, and so is a forged one."""
    trusted: list[Signers] = [SIGNERS]
    ahead = VerifyAhead(verify)
    belief = Belief(DEPLOYMENT, lambda: trusted[0], ahead, ahead.expect)
    good = resume_word(1, ANNA)
    forged = resume_word(2, ANNA)
    object.__setattr__(forged, "signature", resume_word(3, BERT).signature)
    belief.expect([good, forged])
    assert belief.distrust(SignerRole.APPROVER, good, 0) is None
    assert belief.distrust(SignerRole.APPROVER, forged, 0) is RefusalReason.FORGED
    belief.expect([good])
    trusted[:] = [{}]
    assert belief.distrust(SignerRole.APPROVER, good, 0) is RefusalReason.UNKNOWN_KEY


def test_nothing_is_expected_while_nobody_can_say_whom_to_trust() -> None:
    """Whoever asks for a command's signature then waits, as before."""

    def gone() -> Signers:
        raise Unready("cannot be read", where="signers", hint="put it back")

    told: list[object] = []
    Belief(DEPLOYMENT, gone, verify, told.append).expect([resume_word(1)])
    assert told == []
