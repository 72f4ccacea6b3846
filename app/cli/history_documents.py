"""What the history says of changes, as it is printed: for a program all of it, for a person a line each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from app.codec.rendering import evidence_document, touched_text, wall_text, word_text, would_text
from app.core.finding import Finding
from app.core.history.changes import Change, Heard, Placed, Step
from app.core.rehearsal import Rehearsal

KeyText = Callable[[str, bytes], str]
"""Shows the sealed key of an entity's row; empty text where it may not, or cannot."""
Document = dict[str, Any]

_SHORT = 12


def no_key(entity: str, sealed_key: bytes) -> str:
    """Show no key."""
    del entity, sealed_key
    return ""


def change_document(change: Change, key_text: KeyText) -> Document:
    """Return everything that is known of a change; values of rows are not known here."""
    command, outcome = change.command.record if change.command else None, change.outcome
    finding = change.steps[-1].finding.record if change.steps else None
    about = command or (outcome.record if outcome else None)
    entity = about.entity if about else finding.finding.entity if finding else ""
    sealed = command.sealed_key if command else finding.sealed_key if finding else b""
    hashed = command.key_hash if command else finding.key_hash if finding else b""
    return {
        "at": wall_text(change.at_wall_ms),
        "entity": entity,
        "store": about.target if about else finding.finding.replica if finding else "",
        "action": command.action.value if command else "",
        "key": key_text(entity, sealed),
        "key_hash": hashed.hex(),
        "right": change.right.value,
        "because": change.because.value if change.because else "",
        "outcome": outcome.record.outcome.value if outcome else "",
        "reason": outcome.record.reason.value if outcome and outcome.record.reason else "",
        "why": _why(change, finding.finding if finding else None),
        "who": who(change),
        "command_id": change.command_id.hex(),
        "finding_id": change.finding_id.hex(),
        "undoes": command.undoes.hex() if command else "",
        "incident_id": command.incident_id.hex() if command else "",
        "planned_at": wall_text(change.command.at_wall_ms) if change.command else "",
        "planner": change.planner,
        "doubt": change.doubt.value if change.doubt else "",
        "needs_approval": command.needs_approval if command else False,
        "source_transaction": command.source_transaction if command else "",
        "contract_version": command.contract_version if command else None,
        "policy_id": command.policy_id.hex() if command else "",
        "policy": json.loads(change.policy.text) if change.policy else None,
        "drift": [_step(step) for step in change.steps],
        "words": [_word(heard) for heard in change.words],
        "rehearsals": [_rehearsal(each) for each in change.rehearsals],
        "outcomes": [
            {
                "at": wall_text(each.at_wall_ms),
                "outcome": each.record.outcome.value,
                "reason": each.record.reason.value if each.record.reason else "",
                "transaction": each.record.transaction,
                "detail": each.record.detail,
                "place": each.place,
            }
            for each in change.outcomes
        ],
    }


def who(change: Change) -> str:
    """Say who made a change: the planner, and the persons who have spoken of it."""
    told = [change.planner] if change.planner else []
    told += [f"{_speaker(heard)} {word_text(heard.word.record)}" for heard in change.words]
    if change.doubt is not None:
        told.append(f"nobody who is trusted ({change.doubt.value})")
    return ", ".join(told)


def _speaker(heard: Heard) -> str:
    if heard.doubt is None:
        return heard.person
    return f"key {heard.word.record.key_id.hex()} ({heard.doubt.value})"


def _why(change: Change, finding: Finding | None) -> str:
    kind = finding.kind.value if finding and finding.kind else ""
    columns = finding.differing_columns if finding else ()
    if change.command is not None:
        kind, columns = kind or change.command.record.kind, columns or change.command.record.columns
    told = f"{kind} in {', '.join(columns)}" if columns else kind
    return f"{told}: {change.command.record.reason}" if change.command and change.command.record.reason else told


def _step(step: Step) -> Document:
    finding = step.finding.record.finding
    return {
        "at": wall_text(step.finding.at_wall_ms),
        "stage": finding.stage.value,
        "kind": finding.kind.value if finding.kind else None,
        "columns": list(finding.differing_columns),
        "command_id": finding.command_id.hex(),
        "place": step.finding.place,
        "judged_again": step.again.value,
        "judged_otherwise": step.why,
        "evidence": evidence_document(finding.evidence),
    }


def _word(heard: Heard) -> Document:
    word = heard.word.record
    return {
        "at": wall_text(heard.word.at_wall_ms),
        "said": word_text(word),
        "person": heard.person,
        "key_id": word.key_id.hex(),
        "doubt": heard.doubt.value if heard.doubt else "",
        "why": word.why,
        "batch_id": word.batch_id.hex(),
        "said_at": wall_text(word.said_at_ms),
        "place": heard.word.place,
    }


def _allowed_by(document: Document) -> str:
    """Say by which contract and policy a command was planned, and what that says where the contracts here have it."""
    named = f"policy {document['policy_id'][:_SHORT]}" if document["policy_id"] else "a policy that it does not name"
    says = "not among the contracts here" if document["policy"] is None else json.dumps(document["policy"])
    return f"by contract version {document['contract_version']}, {named}: {says}"


def _rehearsal(tried: Placed[Rehearsal]) -> Document:
    rehearsal = tried.record
    return {
        "at": wall_text(tried.at_wall_ms),
        "would": would_text(rehearsal),
        "touches": [touched_text(each) for each in rehearsal.touched],
        "may_touch_more": not rehearsal.is_complete,
        "batch_id": rehearsal.batch_id.hex(),
        "place": tried.place,
    }


def line_of(document: Document) -> Document:
    """Return a change as a person reads it in a list."""
    ended = " ".join(part for part in (document["outcome"], document["reason"]) if part)
    return {
        **document,
        "row": document["key"] or document["key_hash"][:_SHORT],
        "ended": ended or ("waits" if document["command_id"] else "no command"),
        "right": f"{document['right']} ({document['because']})" if document["because"] else document["right"],
        "command": document["command_id"][:_SHORT],
    }


def acts_of(documents: Sequence[Document]) -> list[Document]:
    """Return all that happened in the changes of one row, by time."""
    acts = []
    for document in documents:
        of = {"command": document["command_id"][:_SHORT], "store": document["store"]}
        for step in document["drift"]:
            again = step["judged_otherwise"] or step["judged_again"].replace("_", " ")
            evidence = step["evidence"]
            acts.append(
                {
                    **of,
                    "at": step["at"],
                    "what": f"drift {step['stage']}",
                    "who": "",
                    "why": f"{step['kind'] or ''} {', '.join(step['columns'])}".strip(),
                    "evidence": f"window {evidence['window_ms']} ms ran out at {evidence['judged_at_ms']} ms"
                    f" (beacon time); judged again: {again}",
                }
            )
        if document["action"]:
            planner = document["planner"] or f"nobody who is trusted ({document['doubt']})"
            act = {**of, "at": document["planned_at"], "what": f"command {document['action']}", "who": planner}
            acts.append(act | {"why": document["why"], "evidence": _allowed_by(document)})
        acts += [
            {
                **of,
                "at": word["at"],
                "what": word["said"],
                "who": word["person"] or f"key {word['key_id']} ({word['doubt']})",
                "why": word["why"],
                "evidence": f"signed batch {word['batch_id'][:_SHORT]}",
            }
            for word in document["words"]
        ]
        acts += [
            {
                **of,
                "at": each["at"],
                "what": "rehearsed",
                "who": "applier",
                "why": f"would {each['would']}",
                "evidence": "; ".join(each["touches"]),
            }
            for each in document["rehearsals"]
        ]
        acts += [
            {
                **of,
                "at": each["at"],
                "what": each["outcome"],
                "who": "applier",
                "why": each["reason"],
                "evidence": f"transaction {each['transaction']}" if each["transaction"] else "",
            }
            for each in document["outcomes"]
        ]
    return sorted(acts, key=lambda act: str(act["at"]))
