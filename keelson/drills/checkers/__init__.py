"""What must hold of what clients were told, whatever happened meanwhile: the same checks for drills on real processes and for the simulator.

One promise, one function: it raises `Violation` with the promise and how it was broken. `history` has the words in which requests and answers are
recorded, `linearizability` judges them; `reference` is the store's whole history, which `watch_guarantees` holds every watch against.
"""
