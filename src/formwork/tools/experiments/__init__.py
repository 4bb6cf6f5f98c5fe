"""What tools share that run DVC experiments: a copy of the workspace for them, and what their stages depend on."""
