"""The same random operations to a real etcd and to a Keelson member; every answer compared, field by field.

choosing.py   where chance comes from: a seed, or hypothesis
generate.py   random requests, aimed at the edges of what the state makes interesting
normal.py     answers as plain values, with ids and unspecified orders taken out
differences.py  the one table of what is meant to differ between the oracle's version and ours
sides.py      one server with its connections
duel.py       two sides, the requests so far, and the comparison
run.py        long runs: python -m tests.oracle.run --steps N --seed S
"""
