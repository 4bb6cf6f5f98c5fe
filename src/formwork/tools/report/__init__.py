"""One page that shows a run: what went in, how training went, what came out."""
