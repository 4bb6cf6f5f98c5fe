"""How good a trained model is, and pictures that show it."""
