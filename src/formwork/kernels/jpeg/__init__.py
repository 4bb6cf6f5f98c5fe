"""Decoding of JPEGs to the pixels of libjpeg-turbo, bit for bit, faster, and only where they are needed."""
