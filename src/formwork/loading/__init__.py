"""From a split to batches: sample order, augmentation, and the two loaders that make the same tensors."""
