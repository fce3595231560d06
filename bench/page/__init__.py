"""docs/BENCHMARKS.md: `text` has its words and tables, `plots` its pictures, `targets` what was to be reached."""
