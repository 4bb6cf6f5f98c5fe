"""preview: what a model is really given."""
