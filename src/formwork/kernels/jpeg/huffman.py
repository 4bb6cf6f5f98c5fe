"""Entropy-coded blocks of a JPEG file (ITU-T T.81, annexes C and F).

For each coefficient one look into a table of codes tells how many bits it takes, so that the next one can be looked up
while its value is worked out; no branch depends on it. What is branched upon is rare: the end of a block, a long code.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from formwork.kernels import vectors
from formwork.kernels.compile import inner_kernel, kernel
from formwork.kernels.jpeg.headers import LARGEST_AC, LARGEST_DC, LOOKAHEAD, ROOM, ZIGZAG

DEFINITION = 16 + 256  # bytes of a table's definition: how many codes of each length there are, and their symbols
MADE = DEFINITION  # where it is kept, a byte behind it says whether the table is made
PLACES = np.concatenate([ZIGZAG, np.full(16, 64)]).astype(np.uint8)  # a damaged file has more than 64 coefficients

# An entry of a table of codes, of 16 bits: the lowest 6 are how many bits a code and its value take, 8 to 11 those of
# the value, and the highest 4 how many zeros come before it. 0: the code is longer than LOOKAHEAD.
BITS, SIZE, RUN = 63, 8, 12

# By length of a code: the first 16 bits that are no code of that length or a shorter one, what is added to a code for
# the place of its symbol; the symbols. 32 bits each.
LIMITS, OFFSETS, SYMBOLS, LONG = 0, 18, 36, 36 + 256

_TOP = np.uint64(64 - LOOKAHEAD)
WIDE = 32  # bytes that are searched at once
_WIDE = ir.VectorType(ir.IntType(8), WIDE)


def _loader(kind: ir.IntType, signature: types.Type, swap: bool = False):
    @intrinsic
    def load(typing_context, address):
        def generate(context, builder, _, arguments):
            loaded = vectors.load(builder, kind, arguments[0])
            return builder.bswap(loaded) if swap else loaded

        return signature(types.intp), generate

    return load


def _storer(signature: types.Type):
    @intrinsic
    def store(typing_context, address, value):
        def generate(context, builder, _, arguments):
            vectors.store(builder, arguments[1], arguments[0])
            return context.get_dummy_value()

        return types.none(types.intp, signature), generate

    return store


_load_bits = _loader(ir.IntType(64), types.uint64, swap=True)  # the first byte is the highest
_load_number = _loader(ir.IntType(32), types.int32)
_load_entry = _loader(ir.IntType(16), types.uint16)
_store_coefficient = _storer(types.int16)


def _first_0xff(builder: ir.IRBuilder, read: ir.Value) -> ir.Value:
    """How many of WIDE bytes come before one that is 0xFF."""
    found = builder.icmp_unsigned("==", read, vectors.all_of(_WIDE, 0xFF))
    bits = builder.zext(builder.bitcast(found, ir.IntType(WIDE)), ir.IntType(64))
    return builder.cttz(builder.or_(bits, ir.Constant(bits.type, 1 << WIDE)), ir.Constant(ir.IntType(1), 1))


@intrinsic
def _find_0xff(typing_context, source):
    """How many of the WIDE bytes at an address come before one that is 0xFF."""

    def generate(context, builder, signature, arguments):
        return _first_0xff(builder, vectors.load(builder, _WIDE, arguments[0]))

    return types.intp(types.intp), generate


@intrinsic
def _copy_to_0xff(typing_context, source, target):
    """See _find_0xff; copies all WIDE bytes."""

    def generate(context, builder, signature, arguments):
        read = vectors.load(builder, _WIDE, arguments[0])
        vectors.store(builder, read, arguments[1])
        return _first_0xff(builder, read)

    return types.intp(types.intp, types.intp), generate


@intrinsic
def _clear(typing_context, address):
    """Make the 64 int16 coefficients of a block zero."""

    def generate(context, builder, signature, arguments):
        vectors.store(builder, vectors.all_of(ir.VectorType(ir.IntType(16), 64), 0), arguments[0], align=16)
        return context.get_dummy_value()

    return types.none(types.intp), generate


@inner_kernel
def make_tables(data, definitions, kept, entries, long):
    """Tables of codes from their definitions; those that are as they were for the last image are left alone.

    Args:
        data, definitions: see read_headers.
        kept: (4, DEFINITION + 1) uint8, the definitions that the tables are made of; zeros at first.
        entries: (4, 2 ** LOOKAHEAD) uint16; long: (4, LONG) int32, for longer codes.

    Returns:
        Whether they can be used.
    """
    for table in range(4):
        start = definitions[table]
        if start == 0:
            continue
        total = 0
        for i in range(16):
            total += np.int64(data[start + i])
        same = kept[table, MADE] == 1
        for i in range(16 + total):
            same &= kept[table, i] == data[start + i]
        if same:
            continue
        kept[table, MADE] = 0
        if not _make_table(data[start : start + 16 + total], table >= 2, entries[table], long[table]):
            return False
        for i in range(16 + total):
            kept[table, i] = data[start + i]
        kept[table, MADE] = 1
    return True


@inner_kernel
def _make_table(definition, is_ac, entries, long):
    """T.81, annex C: codes of a length are consecutive numbers, and follow those that are shorter."""
    entries[:] = 0
    code = place = 0
    for length in range(1, 17):
        long[OFFSETS + length] = place - code
        for _ in range(np.int64(definition[length - 1])):
            symbol = np.int64(definition[16 + place])
            run, size = symbol >> 4, symbol & 15
            if size > (LARGEST_AC if is_ac else LARGEST_DC) or (run > 0 and not is_ac) or code >= 1 << length:
                return False
            if length <= LOOKAHEAD:
                spare = LOOKAHEAD - length
                entries[code << spare : (code + 1) << spare] = _entry(length, symbol)
            long[SYMBOLS + place] = symbol
            code += 1
            place += 1
        long[LIMITS + length] = code << (16 - length)
        code <<= 1
    long[LIMITS + 17] = 1 << 16
    return True


@inner_kernel
def _entry(length, symbol):
    run, size = symbol >> 4, symbol & 15
    return length + size | size << SIZE | run << RUN


@inner_kernel
def _long_entry(buffer, long):
    """The entry of a code that is longer than LOOKAHEAD; 0 if there is none."""
    code = np.int64(buffer >> np.uint64(48))
    length = LOOKAHEAD + 1
    while code >= _load_number(long + 4 * (LIMITS + length)):
        length += 1
    if length > 16:
        return 0
    place = (code >> (16 - length)) + _load_number(long + 4 * (OFFSETS + length))
    return _entry(length, np.int64(_load_number(long + 4 * (SYMBOLS + place))))


@kernel
def unstuff(data, start, out):
    """Copy compressed data without the zeros that follow each 0xFF in a file.

    Args:
        data: (bytes,) uint8. start: where the compressed data begins.
        out: (at least data.size - start + ROOM,) uint8.

    Returns:
        How many bytes there are, with ROOM zeros behind them, and where in data a marker ends them.
    """
    at, count, size = start, 0, data.size
    source, target = data.ctypes.data, out.ctypes.data
    while at < size:
        if at + WIDE <= size:
            ends = _copy_to_0xff(source + at, target + count)
            at += ends
            count += ends
            if ends == WIDE:
                continue
        if data[at] == 0xFF:
            if at + 1 >= size or data[at + 1] != 0:
                break
            out[count] = 0xFF
            at += 2
        else:
            out[count] = data[at]
            at += 1
        count += 1
    for i in range(count, count + ROOM):
        out[i] = 0
    return count, at


@kernel
def find_marker(data, start):
    """Where in data, (bytes,) uint8, the marker stands that ends compressed data; its size, where there is none."""
    at, size = start, data.size
    source = data.ctypes.data
    while at < size:
        if at + WIDE <= size:
            ends = _find_0xff(source + at)
            at += ends
            if ends == WIDE:
                continue
        if data[at] != 0xFF:
            at += 1
        elif at + 1 < size and data[at + 1] == 0:
            at += 2
        else:
            break
    return at


@inner_kernel
def _value(buffer, entry):
    """T.81, figure F.12: what the bits after a code mean, of which there is at least one."""
    size = entry >> SIZE & 15
    buffer <<= np.uint64((entry & BITS) - size)
    below = ~(np.int64(buffer) >> 63)  # all bits, if the first one is 0: then it is negative
    return np.int64(buffer >> np.uint64(64 - size)) + (below & (1 - (1 << size)))


@inner_kernel
def read_block(stream, at, buffer, bits, dc, long_dc, ac, long_ac, before, block):
    """Read the coefficients of a block.

    Args:
        stream: address of the compressed data. at: what is read next.
        buffer: uint64, with what was read from its highest bit on. bits: how many those are.
        dc, long_dc, ac, long_ac: addresses of the tables. before: the first coefficient of the block before it.
        block: address of 65 int16, which 64 coefficients are put into, row by row.

    Returns:
        Whether it could be read, at, buffer, bits, and the first coefficient.
    """
    # Addresses and not arrays: to count references to these takes numba as long as to read a block.
    _clear(block)
    buffer |= _load_bits(stream + at) >> np.uint64(bits)
    at += (63 - bits) >> 3
    bits |= 56
    entry = np.int64(_load_entry(dc + 2 * np.int64(buffer >> _TOP)))
    if entry == 0:
        entry = _long_entry(buffer, long_dc)
        if entry == 0:
            return False, at, buffer, bits, before
    if entry >> SIZE & 15 > 0:
        before += _value(buffer, entry)
    buffer, bits = buffer << np.uint64(entry & BITS), bits - (entry & BITS)
    _store_coefficient(block, before)
    k = 1
    while k < 64:
        buffer |= _load_bits(stream + at) >> np.uint64(bits)
        at += (63 - bits) >> 3
        bits |= 56
        entry = np.int64(_load_entry(ac + 2 * np.int64(buffer >> _TOP)))
        if entry >> SIZE & 15 == 0:
            if entry == 0:
                entry = _long_entry(buffer, long_ac)
                if entry == 0:
                    return False, at, buffer, bits, before
            if entry >> SIZE & 15 == 0:
                buffer, bits = buffer << np.uint64(entry & BITS), bits - (entry & BITS)
                if entry >> RUN != 15:  # the end of the block
                    break
                k += 16
                continue
        k += entry >> RUN
        _store_coefficient(block + 2 * np.int64(PLACES[np.uint64(k)]), _value(buffer, entry))
        k += 1
        buffer, bits = buffer << np.uint64(entry & BITS), bits - (entry & BITS)
        # There are bits left for another one: a code and its value are 26 at most.
        entry = np.int64(_load_entry(ac + 2 * np.int64(buffer >> _TOP)))
        if k < 64 and entry >> SIZE & 15 > 0:
            k += entry >> RUN
            _store_coefficient(block + 2 * np.int64(PLACES[np.uint64(k)]), _value(buffer, entry))
            k += 1
            buffer, bits = buffer << np.uint64(entry & BITS), bits - (entry & BITS)
    return k <= 64, at, buffer, bits, before
