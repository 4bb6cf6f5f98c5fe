"""Manifests, which say which images a split has, and pixels, the conversion of an image file to 8-bit RGB."""
