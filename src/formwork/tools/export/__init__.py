"""A trained model in the formats of other programs, with its preprocessing in words."""
