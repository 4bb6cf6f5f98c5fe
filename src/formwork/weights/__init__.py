"""Weights that training starts from: models/initial.safetensors, made of published ones or of a file of the user's."""
