"""The verdict, case by case; and proof that the cases notice when any comparison of it is turned."""

from __future__ import annotations

import ast
import types
from pathlib import Path
from typing import Any

import pytest

from app.core import verdict as real
from app.core.finding import DriftKind, UnknownReason, Verdict
from app.core.verdict import ABSENT, EVER, OPEN, Stay

A, B, C, X = (letter * 16 for letter in (b"a", b"b", b"c", b"x"))
PARTIAL = real.unknown_state(UnknownReason.PARTIAL)


def s(digest: bytes, earliest: int = EVER, latest: int | None = None) -> Stay:
    """Return a stay whose change happened in a bracket, or at one moment."""
    return Stay(digest, bytes(20), earliest, earliest if latest is None else latest)


# replica, authority, deadline, watermark, so far -> vouched until
VOUCHED = {
    "both in one state for ever": ([s(A)], [s(A)], 100, 50, 0, 50),
    "the authority went on": ([s(A)], [s(A), s(B, 10)], 100, 50, 0, 10),
    "the later end of its going favours the replica": ([s(A)], [s(A), s(B, 10, 14)], 100, 50, 0, 14),
    "it comes back later than is judged": ([s(A)], [s(A), s(B, 10), s(A, 30)], 20, 20, 0, 10),
    "a later snapshot's state has held since unknown times": (
        [s(C)],
        [s(A), s(B, 30), s(C)],
        10,
        50,
        0,
        50,
    ),
    "one that began at the deadline, with a snapshot behind it": (
        [s(B)],
        [s(A, 5), s(B, 10), s(A, EVER, 40)],
        10,
        50,
        0,
        40,
    ),
    "its going is not known yet": ([s(A)], [s(A), s(B, 10, OPEN)], 100, 50, 0, 50),
    "a foreign state is never vouched for": ([s(X, 12)], [s(A)], 100, 50, 7, 7),
    "the replica left its good state": ([s(A), s(X, 20)], [s(A)], 100, 50, 0, 20),
    "the later end of its leaving favours the replica": ([s(A), s(X, 20, 25)], [s(A)], 100, 50, 0, 25),
    "its leaving is clipped by the watermark": ([s(A), s(X, 20, OPEN)], [s(A)], 100, 50, 0, 50),
    "it never moves back": ([s(A)], [s(A), s(B, 10)], 100, 50, 30, 30),
    "skipping a state is no blame": ([s(A), s(C, 30)], [s(A), s(B, 10), s(C, 20)], 100, 50, 0, 50),
    "a state that begins after the deadline is not looked at": ([s(A), s(B, 21)], [s(A), s(B, 10)], 20, 50, 0, 10),
    "one that begins at the deadline is": ([s(A), s(B, 20)], [s(A), s(B, 10)], 20, 50, 0, 50),
    "one that begins at the watermark is not": ([s(A), s(B, 50)], [s(A), s(B, 10)], 100, 50, 0, 10),
    "one that begins just before it is": ([s(A), s(B, 49)], [s(A), s(B, 10)], 100, 50, 0, 50),
    "the authority's state after the deadline vouches for nothing": ([s(X, 5)], [s(A), s(X, 21)], 20, 50, 4, 4),
    "at the deadline it does": ([s(X, 5)], [s(A), s(X, 20)], 20, 50, 4, 50),
    "the authority's state at the watermark vouches for nothing": ([s(X, 5)], [s(A), s(X, 50)], 100, 50, 4, 4),
    "just before it, it does": ([s(X, 5)], [s(A), s(X, 49)], 100, 50, 4, 50),
    "the authority came there after the replica had left": ([s(X, 5), s(C, 10)], [s(A), s(X, 11)], 100, 50, 4, 4),
    "the authority came there as the replica left": ([s(X, 5), s(C, 10)], [s(A), s(X, 10)], 100, 50, 4, 10),
    "the latest stay decides": ([s(A)], [s(A), s(B, 10), s(A, 20), s(C, 30)], 100, 50, 0, 30),
    "an unknown state of the replica is vouched for": ([s(PARTIAL, 5)], [s(A)], 100, 50, 0, 50),
    "an unknown state of the authority vouches": ([s(X, 5)], [s(A), s(PARTIAL, 10), s(B, 30)], 100, 50, 0, 30),
    "absence is a state like any other": ([s(ABSENT)], [s(ABSENT), s(A, 10)], 100, 50, 0, 10),
}

# replica, authority, watermark, window, so far -> verdict, vouched until, judged at, reason
JUDGED: dict[str, tuple[Any, ...]] = {
    "agreement": ([s(A)], [s(A)], 50, 10, 0, Verdict.AGREE, 50, 50, None),
    "agreement whose last change is not settled": (
        [s(A), s(B, 48, OPEN)],
        [s(A), s(B, 45)],
        50,
        10,
        0,
        Verdict.WAIT,
        50,
        50,
        None,
    ),
    "agreement settled at the watermark": (
        [s(A), s(B, 48, 50)],
        [s(A), s(B, 45, 50)],
        50,
        10,
        0,
        Verdict.AGREE,
        50,
        50,
        None,
    ),
    "the replica's change is settled a moment later": (
        [s(A), s(B, 48, 51)],
        [s(A), s(B, 45, 50)],
        50,
        10,
        0,
        Verdict.WAIT,
        50,
        50,
        None,
    ),
    "the authority's change is settled a moment later": (
        [s(A), s(B, 48, 50)],
        [s(A), s(B, 45, 51)],
        50,
        10,
        0,
        Verdict.WAIT,
        50,
        50,
        None,
    ),
    "late but within the window": ([s(A)], [s(A), s(B, 40)], 50, 10, 0, Verdict.WAIT, 40, 50, None),
    "late by one more": ([s(A)], [s(A), s(B, 40)], 51, 10, 0, Verdict.DRIFT, 40, 50, None),
    "a drift stands though the replica came right after its deadline": (
        [s(A), s(B, 90)],
        [s(A), s(B, 40)],
        100,
        10,
        0,
        Verdict.DRIFT,
        40,
        50,
        None,
    ),
    "an arrival at the deadline is in time": (
        [s(A), s(B, 50)],
        [s(A), s(B, 40)],
        100,
        10,
        0,
        Verdict.AGREE,
        100,
        100,
        None,
    ),
    "foreign states that follow one another do not restart the clock": (
        [s(A), s(X, 20), s(C, 25)],
        [s(A)],
        31,
        10,
        0,
        Verdict.DRIFT,
        20,
        30,
        None,
    ),
    "a chain of timely changes is followed to its end": (
        [s(A), s(B, 25), s(C, 45)],
        [s(A), s(B, 20), s(C, 40)],
        100,
        10,
        0,
        Verdict.AGREE,
        100,
        100,
        None,
    ),
    "a window of nothing": ([s(A), s(B, 40, 42)], [s(A), s(B, 39, 41)], 50, 0, 0, Verdict.AGREE, 50, 50, None),
    "an unknown state of the replica": (
        [s(PARTIAL, 5)],
        [s(A)],
        50,
        10,
        0,
        Verdict.UNKNOWN,
        50,
        50,
        UnknownReason.PARTIAL,
    ),
    "an unknown state of the authority": (
        [s(A)],
        [s(PARTIAL, 5)],
        50,
        10,
        0,
        Verdict.UNKNOWN,
        50,
        50,
        UnknownReason.PARTIAL,
    ),
    "both in one state that nobody knows": (
        [s(PARTIAL, 5)],
        [s(PARTIAL, 5)],
        50,
        10,
        0,
        Verdict.UNKNOWN,
        50,
        50,
        UnknownReason.PARTIAL,
    ),
}

# stays, moment -> digest
STATES = {
    "before any": ([s(A, 10), s(B, 20)], 5, A),
    "at its beginning": ([s(A, 10), s(B, 20)], 20, B),
    "just before it": ([s(A, 10), s(B, 20)], 19, A),
}

# shown, truth, past -> kind
KINDS = {
    "missing": (ABSENT, A, [ABSENT], DriftKind.MISSING),
    "extra": (A, ABSENT, [A], DriftKind.EXTRA),
    "stale": (B, A, [C, B], DriftKind.STALE),
    "different": (X, A, [C, B], DriftKind.DIFFERENT),
}


# replica, authority, window, so far -> whether no watermark can show a drift
FOLLOWED = {
    "at the window's end": ([s(A), s(B, 30)], [s(A), s(B, 20)], 10, 0, True),
    "behind the window": ([s(A), s(B, 31)], [s(A), s(B, 20)], 10, 0, False),
    "the replica first": ([s(A), s(B, 20)], [s(A), s(B, 30)], 10, 0, True),
    "the replica too early": ([s(A), s(B, 20)], [s(A), s(B, 31)], 10, 0, False),
    "vouched for since": ([s(A), s(B, 31)], [s(A), s(B, 20)], 10, 21, True),
    "never changed": ([s(A)], [s(A)], 0, 0, True),
    "only the replica changed": ([s(A), s(B, 30), s(A, 40)], [s(A)], 10, 0, True),
    "only the authority changed": ([s(A)], [s(A), s(B, 20), s(A, 30)], 10, 0, True),
    "began apart": ([s(C), s(B, 30)], [s(A), s(B, 20)], 10, 0, False),
    "ends apart": ([s(A), s(C, 30)], [s(A), s(B, 20)], 10, 0, False),
    "in a state that nobody knows": ([s(A), s(PARTIAL, 20)], [s(A), s(PARTIAL, 20)], 10, 0, False),
}

# replica, authority, so far -> up to when both showed one state
SHARED = {
    "the replica first": ([s(A), s(B, 20), s(C, 50)], [s(A), s(B, 30)], 0, 20),
    "the authority first": ([s(A), s(B, 30)], [s(A), s(B, 20)], 0, 20),
    "only the replica changed": ([s(A), s(B, 30)], [s(A)], 0, 30),
    "only the authority changed": ([s(A)], [s(A), s(B, 20)], 0, 20),
    "vouched for since": ([s(A)], [s(A), s(B, 20)], 25, 25),
    "never changed": ([s(A)], [s(A)], 7, 7),
    "began apart": ([s(C)], [s(A), s(B, 20)], 7, 7),
}


# replica, authority, window, watermark, so far -> when it agreed again
AGAIN: dict[str, tuple[Any, ...]] = {
    "followed at last": ([s(A), s(B, 40)], [s(A), s(B, 20)], 10, 90, 20, 41),
    "not yet": ([s(A)], [s(A), s(B, 20)], 10, 90, 20, None),
    "and left again": ([s(A), s(B, 40), s(X, 50)], [s(A), s(B, 20)], 10, 90, 20, 41),
    "the authority came back": ([s(A), s(X, 20)], [s(A), s(X, 40, 44), s(A, 50)], 10, 90, 20, 41),
    "a state that was left within the window": ([s(A), s(B, 40)], [s(A), s(B, 20), s(C, 31)], 10, 90, 20, 41),
    "one that was left before": ([s(A), s(B, 40)], [s(A), s(B, 20), s(C, 30)], 10, 90, 20, None),
    "a replica that left it within the window": ([s(X), s(B, 20), s(X, 31)], [s(A), s(B, 31)], 10, 90, 20, 32),
    "as the replica left": ([s(A), s(B, 20), s(X, 40)], [s(A), s(B, 40)], 10, 90, 20, 41),
    "after the replica had left": ([s(A), s(B, 20), s(X, 40)], [s(A), s(B, 41)], 10, 90, 20, None),
    "what was too much to keep, which was left long ago": ([s(A), s(X, 40)], [s(PARTIAL), s(C, 50)], 10, 90, 20, None),
    "what was too much to keep, which was left just now": ([s(A), s(X, 40)], [s(PARTIAL), s(C, 85)], 10, 90, 20, 90),
    "what nobody knows for a while": ([s(A), s(X, 40)], [s(A), s(PARTIAL, 20), s(C, 50)], 10, 90, 20, 41),
    "at the watermark": ([s(A), s(B, 40)], [s(A), s(B, 20)], 10, 41, 20, 41),
    "behind the watermark": ([s(A), s(B, 40)], [s(A), s(B, 20)], 10, 40, 20, None),
    "just behind the deadline": ([s(A), s(B, 31)], [s(A), s(B, 20)], 10, 90, 20, 32),
    "by a state that began by the deadline and came too late": ([s(A), s(B, 30)], [s(A), s(B, 20)], 10, 90, 20, 90),
    "by one that was left again meanwhile": ([s(A), s(B, 30), s(C, 79)], [s(A), s(B, 20)], 10, 90, 20, None),
    "by one that was judged": ([s(A), s(B, 15)], [s(A), s(B, 10), s(C, 20)], 10, 90, 20, None),
    "the first of two": ([s(A), s(B, 40), s(C, 60)], [s(A), s(B, 20), s(C, 55)], 10, 90, 20, 41),
    "the first of two that nobody knows": ([s(A), s(PARTIAL, 40)], [s(A), s(B, 20), s(C, 55)], 10, 90, 20, 41),
    "a snapshot's state behind others": ([s(A), s(C, 40)], [s(A), s(B, 20), s(C, EVER, 60)], 10, 90, 20, 41),
    "the earliest, where a snapshot's is behind it": (
        [s(X), s(B, 40)],
        [s(A), s(B, 45), s(C, 46, 47), s(B, EVER, 60)],
        10,
        90,
        20,
        41,
    ),
    "after the replica had left, and a snapshot behind": (
        [s(A), s(B, 20), s(X, 40)],
        [s(A), s(B, 41), s(C, EVER, 60)],
        10,
        90,
        20,
        None,
    ),
}


def failures(verdict: Any) -> list[str]:  # noqa: ANN401, C901, PLR0912 - a module, real or turned; one loop per table
    """Return the names of the cases that a module with the verdict's functions gets wrong."""
    wrong = []
    for name, (replica, authority, deadline, watermark, so_far, expected) in VOUCHED.items():
        if verdict.vouched_until(replica, authority, deadline, watermark, so_far) != expected:
            wrong.append(f"vouched: {name}")
    for name, (replica, authority, watermark, window, so_far, what, vouched, at, reason) in JUDGED.items():
        got = verdict.judge(replica, authority, watermark, window, so_far)
        if (got.verdict, got.vouched_until_ms, got.judged_at_ms, got.reason) != (what, vouched, at, reason):
            wrong.append(f"judged: {name}: {got}")
    for name, (replica, authority, window, watermark, so_far, at) in AGAIN.items():
        if (again := verdict.agreed_again_at(replica, authority, window, watermark, so_far)) != at:
            wrong.append(f"again: {name}: {again}")
    for name, (stays, moment, digest) in STATES.items():
        if verdict.state_at(stays, moment).digest != digest:
            wrong.append(f"state: {name}")
    for name, (replica, authority, window, so_far, followed) in FOLLOWED.items():
        if verdict.surely_followed(replica, authority, window, so_far) is not followed:
            wrong.append(f"followed: {name}")
    for name, (replica, authority, so_far, shared) in SHARED.items():
        if verdict.shared_until(replica, authority, so_far) != shared:
            wrong.append(f"shared: {name}")
    for name, (shown, truth, past, kind) in KINDS.items():
        if verdict.kind_of(shown, truth, past) is not kind:
            wrong.append(f"kind: {name}")
    wrong.extend(
        f"reason: {reason.value}"
        for reason in UnknownReason
        if verdict.reason_of(verdict.unknown_state(reason)) is not reason or verdict.reason_of(A) is not None
    )
    return wrong


def test_every_case_is_judged_as_told() -> None:
    """The rule gives what each named case expects."""
    assert failures(real) == []


TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.IsNot: (ast.Is,),
    ast.Is: (ast.IsNot,),
}


FOR_SPEED = {"shown.earliest_ms >= found_ms"}
"""Comparisons that leave out what can change nothing."""


def _comparisons(tree: ast.AST) -> list[ast.Compare]:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    return [node for node in found if ast.unparse(node) not in FOR_SPEED]


SOURCE = Path(real.__file__).read_text()
MUTANTS = [
    (index, turned)
    for index, node in enumerate(_comparisons(ast.parse(SOURCE)))
    for turned in TURNED[type(node.ops[0])]
]


@pytest.mark.parametrize(("index", "turned"), MUTANTS)
def test_a_turned_comparison_is_noticed(index: int, turned: type[ast.cmpop]) -> None:
    """No comparison of the verdict can be turned without a case failing."""
    tree = ast.parse(SOURCE)
    node = _comparisons(tree)[index]
    where = f"{ast.unparse(node)} with {turned.__name__}, line {node.lineno}"
    node.ops[0] = turned()
    mutant = types.ModuleType("verdict_mutant")
    mutant.__dict__["__name__"] = real.__name__  # dataclasses look their module up
    endless = _bounded(tree)
    exec(compile(endless, "verdict_mutant", "exec"), mutant.__dict__)  # noqa: S102 - our own source, one operator turned
    try:
        noticed = bool(failures(mutant))
    except (LookupError, TypeError, RuntimeError):
        noticed = True
    assert noticed, f"survives: {where}"


def _bounded(tree: ast.Module) -> ast.Module:
    """Make `while True` end, for a mutant may never come to rest."""
    for node in ast.walk(tree):
        if isinstance(node, ast.While):
            loop = ast.parse("for _ in range(1000):\n    pass\nelse:\n    raise RuntimeError('endless')").body[0]
            assert isinstance(loop, ast.For)
            loop.body = node.body
            node.test = ast.Constant(value=True)
            node.body = [loop, ast.Break()]
    return ast.fix_missing_locations(tree)
