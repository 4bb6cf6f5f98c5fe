"""Models by name, and a trained model as a file."""
