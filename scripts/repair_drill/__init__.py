"""The repairs drill: an applier that is killed at every step, under an application that writes at the worst moment.

The applier is the product's, on real Kafka, PostgreSQL and MariaDB; who writes rows, sends commands and judges is the
drill. The judge (`repair_judge`) is a package of its own and knows nothing of `app`.

| file | question |
|---|---|
| `deployment.py` | which tables, contracts and settings are there, and how is each store asked? |
| `planner.py` | what is a repair's signed command? |
| `moments.py` | when does the application write, the applier die, the server end? |
| `launcher.py`, `launched.py` | how does an applier come to ask behind each step, and how did it end? |
| `steps.py` | what has it in hand, and what is it answered? |
| `application.py` | how does the application write, and is it waiting for a lock? |
| `outcomes.py` | what was said of each command so far? |
| `servers.py` | how do the databases die? |
| `store_drill.py` | in which order does all this happen to one target? |
| `drill.py` | what may be asked for, and what is said in the end? |
"""
