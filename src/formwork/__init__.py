"""Formwork: versioned image datasets, FFCV betons and reproducible training.

`datasets` finds and lists images, `beton` stores them, `loading` turns them into batches and `training` uses these.
"""
