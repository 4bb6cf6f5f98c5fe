"""Random input for the code that reads files: `make fuzz`. docs/robustness.md says what it tries and what it found."""
