"""The layout of FFCV's file format version 2, as in `ffcv/types.py` and `ffcv/fields/` of ffcv 1.0.2.

    header | field descriptors | metadata, a row a sample | pages of image data | allocation table

The allocation table says where each sample's data lies; it reaches to the end of the file, and nothing may follow it.
A sample's data never crosses the edge of a page, counted from the start of the file. All numbers are little-endian.
"""

import numpy as np

VERSION = 2
MIN_PAGE_SIZE = 1 << 21
MAX_PAGE_SIZE = 1 << 32  # exclusive
MAX_SIDE = 65500  # of a JPEG; the format itself stores width and height in 16 bits

IMAGE_FIELD, INT_FIELD = 2, 1  # type ids of RGBImageField and IntField
JPG, RAW = 0, 1  # values of `mode`
MODE_NAMES = {JPG: "jpg", RAW: "raw"}

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ],
    align=True,
)
FIELD = np.dtype([("type_id", "<u1"), ("name", "<u1", 16), ("arguments", "<u1", (1024,))], align=True)
IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
LABEL = np.dtype("<i8")
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

BYTES = np.dtype([("ptr", "<u8"), ("size", "<u8")])
ARRAY = np.dtype("<u8")  # where it is

FIELD_TYPES = {0: np.dtype("<f8"), INT_FIELD: LABEL, IMAGE_FIELD: IMAGE, 3: BYTES, 4: ARRAY, 5: BYTES, 6: ARRAY}
"""Metadata by type id: of float, int, image, bytes, array, JSON and tensor. Betons written here have an image and a
label; the others can stand beside them in one of FFCV's own writer."""

FIELD_NAMES = {
    0: "FloatField",
    INT_FIELD: "IntField",
    IMAGE_FIELD: "RGBImageField",
    3: "BytesField",
    4: "NDArrayField",
    5: "JSONField",
    6: "TorchTensorField",
    255: "a field class of its own",
}
"""FFCV's classes by type id. What a class of somebody's own has in the metadata is not in the file."""


def metadata_type(fields: list[np.dtype]) -> np.dtype:
    """The row type of the metadata: FFCV names its columns f0, f1, ... and aligns them as C does."""
    return np.dtype([("", field) for field in fields], align=True)


METADATA = metadata_type([IMAGE, LABEL])
"""Row type of the metadata of betons written here: f0 is the image, f1 the label."""
