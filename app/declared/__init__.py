"""Reading what people declare in YAML: every value knows its place, and every fault of a file is told at once."""
