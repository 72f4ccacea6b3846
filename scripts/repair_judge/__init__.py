"""The judge of the repairs drill: what the drill wrote down, held against the databases and the topic of outcomes.

It imports nothing of `app`. What it knows of the product are the columns of the ledger, the shipped Avro schema of
outcomes, and in which order an applier locks, reads and commits (`ways.py`).

| file | question |
|---|---|
| `story.py` | what was wrong with each row, and what did the application write to it, and when? |
| `evidence.py` | what do the tables, the ledger and the topic of outcomes say? |
| `ways.py` | which ends may a repair have, by what the application did? |
| `judge.py` | where do they differ? |
| `undone.py` | is all as it was, once all was undone? |
"""
