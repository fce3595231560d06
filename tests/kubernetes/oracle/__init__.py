"""The same random requests to a genuine Kubernetes API server and to ours; every answer compared.

program.py      the genuine server, built with Go from its published module
servers.py      both servers as processes
definitions.py  the custom resources that requests are about
generate.py     random requests, aimed at the edges of what the definitions forbid
bad_definitions.py  definitions with one fault each, and changes that a definition may not go through
requests.py     a request as data, with places for what each server chose itself (uid, resourceVersion, continue)
normal.py       answers as plain values, with what each server chooses itself taken out
differences.py  the one table of what is meant to differ, with reasons
sides.py        one server with what it has told so far
duel.py         two sides, and the comparison
run.py          python -m tests.kubernetes.oracle.run --seeds 1:20
"""
