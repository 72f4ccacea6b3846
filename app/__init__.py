"""Driftline: says within seconds when stores that should agree no longer do, and repairs what it may, with proof.

The data's way, and where each step is decided (pure) and done (shell):

| # | step | what comes out | decided in | done in |
|--:|---|---|---|---|
| 1 | a change arrives from a CDC topic, in blocks | bytes | - | `agents/block_consumer.py` |
| 2 | decode | columns; `ChangeEvent` of odd ones | `codec/typed.py`, `codec/envelope.py` | `agents/ingest.py` |
| 3 | normalise | canonical values | `core/normalise.py`, `core/types/` | `agents/rows.py` |
| 4 | digest, re-key | `RowBlock`, `Barrier`, `Mark` | `core/digest.py`, `core/columns.py` | `agents/ingest.py` |
| 5 | fold, judge | key state, `Finding` | `core/fold.py`, `core/judging.py`, `core/verdict.py` | `agents/compare.py` |
| 5a | add up groups of rows, judge | `Finding` on a group | `core/aggregate*.py` | `agents/aggregating.py` |
| 6 | tell | a record on the topic of drifts | `core/finding.py` | `agents/compare.py`, `codec/records.py` |
| 7 | plan, sign | `RepairCommand` or a refusal | `core/plan.py`, `core/policy.py` | `agents/plan.py` |
| 8 | a person asks, answers | `Approval` of a `Batch`, `Rehearsal` | `core/batch.py`, `core/transform.py` | `cli/` |
| 9 | apply, guarded | `CommandOutcome`, a ledger row | `core/trust.py`, `core/guard.py` | `applier/` |
| 10 | verify | the drift's last record | `core/judging.py` | `agents/compare.py` |
| 11 | read again | capture gaps | `core/conducting.py`, `core/reread.py` | `conductor/`, `agents/compare.py` |
| 12 | plant drifts, hear of them | rates of misses and false alarms | `core/canary.py` | `canary/` |
| 13 | keep, answer | rows in SQL; whether a `Change` was right | `core/history/` | `history/`, `cli/history.py` |

Read `core/verdict.py` first: it is the rule that everything else serves. `simulation/` runs 5 to 9 in worlds that
misbehave, `bench/` measures 1 to 6.
"""
