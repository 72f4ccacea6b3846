"""The demo's shop: its tables, its load, what is done to the copy, and what must stay quiet.

Nothing here imports the product: it is started and asked as a person would, through its command line and its topics.

| file | what it holds |
|---|---|
| `sides.py` | the two databases, spoken to in plain SQL |
| `shop.py` | tables, users and first rows, for PostgreSQL and MariaDB |
| `load.py` | the shop's own work, and rows that are hot on purpose |
| `pipeline.py` | the pipeline that somebody else wrote: its connectors, its lag, what it can be made to lose |
| `damages.py` | one function for each kind of damage |
| `quiet.py` | what must raise nothing |
| `running.py` | the product's processes: start, kill, restart |
| `campaign.py` | plant, wait, approve, measure |
| `drill.py` | the drills' command line, and the crash drill |
| `truth_plan.py` | what the truth drill plants and troubles, and when: one plan for each seed |
| `truth.py` | the truth drill: plant, trouble the sink, let the judge count |
| `screen.py` | what a person sees while it happens |
"""
