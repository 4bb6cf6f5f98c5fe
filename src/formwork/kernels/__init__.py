"""Compiled code behind four doors, each with a plain form that gives the same results, bit for bit:

    formwork.kernels.decode.decode      a JPEG file to its pixels
    formwork.kernels.resize.resize      a part of an image to another size
    formwork.kernels.checksum.checksum  whether bytes are as they were written
    formwork.kernels.compile.kernel     a decorator for a loop over pixels of your own

FORMWORK_KERNELS=plain takes the plain forms: Pillow, NumPy and torch instead of numba and LLVM. They are also taken,
with a warning that gives the reason, where numba cannot be imported or cannot compile.
"""
