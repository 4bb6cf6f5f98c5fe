"""Predictions of a trained model for images from anywhere, as a table."""
