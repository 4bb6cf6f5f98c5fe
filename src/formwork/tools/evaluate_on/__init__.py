"""A trained model measured on other images than those of evaluate: another dataset, or a group of classes."""
