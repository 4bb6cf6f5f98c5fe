"""What can be wrong with a sample of a beton, in the order in which it is checked."""

(
    OK,
    OUTSIDE_FILE,
    UNKNOWN_MODE,
    UNREADABLE,
    FOLLOWED,
    CHANGED,
    WRONG_SIZE,
    BAD_JPEG,
    JPEG_WARNING,
    UNUSUAL_JPEG,
) = range(10)
"""JPEG_WARNING: all pixels were decoded, and the decoder had to guess at something, such as needless bytes between two
parts of the file. UNUSUAL_JPEG: left to libjpeg-turbo by the kernel, and to no one else."""

FAULTS = {
    OUTSIDE_FILE: "its data lies outside the file",
    UNKNOWN_MODE: "its storage mode is unknown",
    UNREADABLE: "it cannot be read",
    FOLLOWED: "there is something behind it, where nothing should be",
    CHANGED: "it does not have the checksum that it was written with",
    WRONG_SIZE: "its size does not fit its pixels",
    BAD_JPEG: "its JPEG data is damaged",
    JPEG_WARNING: "its JPEG data is damaged",
}
