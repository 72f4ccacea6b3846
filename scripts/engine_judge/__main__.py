"""Judge a drill's deployment: `python -m engine_judge FOLDER`, FOLDER being where the drill wrote `judged.json`.

Prints the judgement as JSON. Exit code 0: no fault; 1: faults.
"""

import json
import sys
from pathlib import Path

from engine_judge.deployment import Deployment
from engine_judge.judge import judge

told = judge(Deployment.read(Path(sys.argv[1])))
print(json.dumps(vars(told), indent=1))
sys.exit(1 if told.faults else 0)
