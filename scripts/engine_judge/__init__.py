"""The judge of the engine: rebuilds from the raw change topics what the workers should have come to, and compares.

Slow and obvious on purpose: one pass over each topic, every change one by one, every history kept whole. It reads Kafka
with a bare consumer and imports nothing of `app`; what it knows of the product's formats stands in `state.py` (the
table's changelog), `links.py` (`observations`) and the shipped Avro schema of findings.

| file | question |
|---|---|
| `topics.py` | what is in a topic, from its beginning to its present end? |
| `moments.py` | between which two moments did a change of a log happen? |
| `rows.py` | which row does a raw change tell, and what is its digest? |
| `rebuild.py` | which states did every row have in each store? |
| `verdicts.py` | which drifts follow from that? |
| `state.py` | what do the workers hold of each row? |
| `findings.py` | which drifts did the workers tell? |
| `links.py`, `offsets.py` | was a committed offset ever ahead of its effects? |
| `judge.py` | where do the two differ? |
"""
