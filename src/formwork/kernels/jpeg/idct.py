"""The inverse cosine transform of a block: libjpeg-turbo's accurate integer one, to the bit.

From Loeffler, Ligtenberg and Moschytz, Practical Fast 1-D DCT Algorithms with 11 Multiplications (1989), in fixed-point
arithmetic as in jidctint.c of libjpeg-turbo; what is 16 bits wide here, and wraps or saturates, is so in its SIMD code.
"""

from functools import reduce

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from formwork.kernels.jpeg.headers import BLOCK
from formwork.kernels.vectors import all_of, load, narrowed, shuffled, store

CONST_BITS = 13  # of the constants' fractions
PASS1_BITS = 2  # of the fractions of what the first pass leaves
CENTRE = 128  # what was subtracted from the samples before they were transformed

BYTES, SHORTS, NUMBERS = (ir.VectorType(ir.IntType(bits), BLOCK) for bits in (8, 16, 32))


def _fixed(value: float) -> int:
    return round(value * (1 << CONST_BITS))


@intrinsic
def inverse_transform(typing_context, coefficients, quantisation, out, stride):
    """The samples of a block.

    Args:
        coefficients, quantisation: addresses of 64 int16, row by row.
        out: address of the first of eight rows of eight bytes; stride: bytes from one row to the next.
    """

    def generate(context, builder, signature, arguments):
        coefficients, quantisation, out, stride = arguments
        read = [load(builder, SHORTS, coefficients, 16 * row, align=16) for row in range(BLOCK)]
        rows = [builder.mul(row, load(builder, SHORTS, quantisation, 16 * i, align=16)) for i, row in enumerate(read)]
        rows[0] = builder.select(_is_zero(builder, read[1:]), _wrapped(builder, rows[0]), rows[0])
        rows = [_descaled(builder, row, CONST_BITS - PASS1_BITS) for row in _one_way(builder, rows)]
        rows = [narrowed(builder, row, SHORTS, -(1 << 15), (1 << 15) - 1) for row in rows]
        columns = _one_way(builder, _transposed(builder, rows))
        columns = [_descaled(builder, column, CONST_BITS + PASS1_BITS + 3) for column in columns]
        samples = [narrowed(builder, column, BYTES, -CENTRE, CENTRE - 1) for column in columns]
        samples = [builder.add(column, all_of(BYTES, CENTRE)) for column in samples]
        _store_transposed(builder, samples, out, stride)
        return context.get_dummy_value()

    return types.none(*[types.intp] * 4), generate


def _is_zero(builder: ir.IRBuilder, rows: list[ir.Value]) -> ir.Value:
    """Whether all numbers of all rows are 0."""
    bits = ir.IntType(16 * BLOCK)
    return builder.icmp_unsigned("==", builder.bitcast(reduce(builder.or_, rows), bits), ir.Constant(bits, 0))


def _wrapped(builder: ir.IRBuilder, row: ir.Value) -> ir.Value:
    """Without the bits that libjpeg-turbo loses in its short way for a block of one row; those of a photo never have
    any, as they would be far brighter than white."""
    return builder.ashr(builder.shl(row, all_of(SHORTS, PASS1_BITS)), all_of(SHORTS, PASS1_BITS))


def _one_way(builder: ir.IRBuilder, x: list[ir.Value]) -> list[ir.Value]:
    """Transform eight numbers of 16 bits to eight of 32 bits, eight times at once."""
    add, subtract = builder.add, builder.sub

    def wide(value: ir.Value) -> ir.Value:
        return builder.sext(value, NUMBERS)

    def times(value: ir.Value, constant: int) -> ir.Value:
        return builder.mul(value, all_of(NUMBERS, constant))

    def scaled(value: ir.Value) -> ir.Value:
        return builder.shl(wide(value), all_of(NUMBERS, CONST_BITS))

    z1 = times(add(wide(x[2]), wide(x[6])), _fixed(0.541196100))
    even2 = subtract(z1, times(wide(x[6]), _fixed(1.847759065)))
    even3 = add(z1, times(wide(x[2]), _fixed(0.765366865)))
    even0, even1 = scaled(add(x[0], x[4])), scaled(subtract(x[0], x[4]))
    even = [add(even0, even3), add(even1, even2), subtract(even1, even2), subtract(even0, even3)]

    a, b, c, d = (wide(x[i]) for i in (7, 5, 3, 1))
    z3, z4 = wide(add(x[7], x[3])), wide(add(x[5], x[1]))
    z5 = times(add(z3, z4), _fixed(1.175875602))
    z1, z2 = times(add(a, d), -_fixed(0.899976223)), times(add(b, c), -_fixed(2.562915447))
    z3, z4 = subtract(z5, times(z3, _fixed(1.961570560))), subtract(z5, times(z4, _fixed(0.390180644)))
    odd = [
        add(times(d, _fixed(1.501321110)), add(z1, z4)),
        add(times(c, _fixed(3.072711026)), add(z2, z3)),
        add(times(b, _fixed(2.053119869)), add(z2, z4)),
        add(times(a, _fixed(0.298631336)), add(z1, z3)),
    ]
    return [add(e, o) for e, o in zip(even, odd, strict=True)] + [
        subtract(e, o) for e, o in zip(reversed(even), reversed(odd), strict=True)
    ]


def _descaled(builder: ir.IRBuilder, value: ir.Value, bits: int) -> ir.Value:
    return builder.ashr(builder.add(value, all_of(NUMBERS, 1 << (bits - 1))), all_of(NUMBERS, bits))


def _interleaved(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, width: int) -> tuple[ir.Value, ir.Value]:
    """Groups of `width` elements of a and b in turn: those of the lower halves, and those of the upper ones."""
    size = a.type.count
    order = [source * size + start + i for start in range(0, size, width) for source in (0, 1) for i in range(width)]
    return shuffled(builder, a, b, order[:size]), shuffled(builder, a, b, order[size:])


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Eight rows of eight elements, as columns."""
    pairs = [_interleaved(builder, rows[i], rows[i + 1], 1) for i in (0, 2, 4, 6)]
    columns: list[ir.Value] = []
    for side in (0, 1):
        upper, lower = (_interleaved(builder, pairs[i][side], pairs[i + 1][side], 2) for i in (0, 2))
        for part in (0, 1):
            columns.extend(_interleaved(builder, upper[part], lower[part], 4))
    return columns


def _store_transposed(builder: ir.IRBuilder, columns: list[ir.Value], out: ir.Value, stride: ir.Value) -> None:
    """Eight columns of eight bytes, as rows."""
    whole = [shuffled(builder, columns[i], columns[i + 1], [*range(16)]) for i in (0, 2, 4, 6)]
    mixed = [shuffled(builder, pair, pair, [i // 2 + 8 * (i % 2) for i in range(16)]) for pair in whole]
    first, second = (_interleaved(builder, mixed[i], mixed[i + 1], 2) for i in (0, 2))
    row = 0
    for upper, lower in zip(first, second, strict=True):
        for two_rows in _interleaved(builder, upper, lower, 4):
            for half in (0, 1):
                place = builder.add(out, builder.mul(stride, ir.Constant(out.type, row)))
                store(builder, shuffled(builder, two_rows, two_rows, [*range(8 * half, 8 * half + 8)]), place)
                row += 1
