"""Measurements: Keelson beside the systems it has to stand up to, in one run on one machine.

* `compare`: `make bench`; Keelson and etcd with the same load, one after the other, as ratios;
* `report`: raw results to docs/BENCHMARKS.md and its plots;
* `profile`: where a member's time goes while it serves puts or reads;
* `load/`: the load generator, and `load/calibrate.py`, which shows that it is not what limits the figures;
* `peers/`: how each system is started, with which settings.

Raw results stay in bench/results/ (not committed); the summary in docs/ is.
"""
