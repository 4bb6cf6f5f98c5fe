"""Tool setup: makes this checkout ready. It runs before any package is installed, on the standard library alone."""
