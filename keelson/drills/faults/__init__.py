"""The faults, one file each; `NAMES` in `registry` lists them."""
