"""The .beton file: FFCV's format version 2, checked when it is opened."""
