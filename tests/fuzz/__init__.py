"""Bad input on both ports. One invariant over all: a clear error or a hang-up for whoever sends it, nothing lost, the process alive and serving
others meanwhile. `KEELSON_FUZZ_SECONDS` gives the random targets more time each.
"""
