"""All that imports ffcv, and the patches that it needs: for `ffcv.*` operations, tests and benchmarks alone."""
