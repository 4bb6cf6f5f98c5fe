"""Which images a split has (its manifest), and what the pixels of each image file are."""
