"""Measurements: Keelson beside the systems it has to stand up to, in one run on one machine.

* `cases`: what is measured; `compare`: `make bench`, the same load on all, in turns, as ratios; `lifecycle`: what is no rate under load;
* `results`: what is kept, one file a run; `tables` for a terminal, `report` and `page/` for docs/BENCHMARKS.md and its plots;
* `profile`: where a member's time goes while it serves puts or reads;
* `load/`: the load generator, and `load/calibrate.py`, which shows that it is not what limits the figures;
* `peers/`: how each system is started, with which settings.

Raw results stay in bench/results/ (not committed) but for kept.json there, which the page is made of.
"""
