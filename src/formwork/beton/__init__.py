"""The .beton file: FFCV's format version 2, written reproducibly and checked when it is opened."""
