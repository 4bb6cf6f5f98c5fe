"""Images whose labels are likely wrong, by what models answered that were not trained on them."""
