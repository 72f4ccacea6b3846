"""The repairs drill: an applier that is killed at every step, under an application that writes at the worst moment.

The applier is the product's, on real Kafka, PostgreSQL and MariaDB; who writes rows, sends commands and judges is the
drill. The judge (`repair_judge`) is a package of its own and knows nothing of `app`.

| file | question |
|---|---|
| `deployment.py` | which tables, contracts and settings are there, and how is each store asked? |
| `planner.py` | what is a repair's signed command? |
| `moments.py` | when does the application write, the applier die, the server end? |
| `launcher.py` | how does the applier ask before each step? |
| `steps.py` | what is answered? |
| `application.py` | how does the application write, and is it waiting for a lock? |
| `drill.py` | in which order does all this happen? |
"""
