"""The judge: says what happened without asking the product how it came to its opinion.

It reads both databases by plain SQL, the published topics with a bare consumer, the schemas from the registry, and
imports nothing of `app`.
"""
