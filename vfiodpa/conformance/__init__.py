"""The checks of the conformance suite: a file for each block of clauses, or for a few. docs/how-to/write-a-check.md"""
