"""What tools share that run DVC experiments: settings, a copy of the workspace for them, and finished ones."""
