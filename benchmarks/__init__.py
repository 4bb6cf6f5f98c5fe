"""Benchmarks: ratios from one run on one machine, and the tables of docs/benchmarks.md."""
