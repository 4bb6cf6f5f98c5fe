"""inspect_beton: what a beton holds, what it was made from, and whether it is whole."""
