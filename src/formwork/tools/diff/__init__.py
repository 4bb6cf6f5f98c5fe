"""What changed between two states of a dataset, from their manifests, and what that did to a model's predictions."""
