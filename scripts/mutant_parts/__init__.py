"""`scripts/mutants`: each rule of the core, broken on purpose in a process of its own, and which seed caught it."""
