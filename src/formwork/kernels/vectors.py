"""Memory and vectors in LLVM's terms, for the parts of kernels that numba has no words for."""

from llvmlite import ir


def load(builder: ir.IRBuilder, kind: ir.Type, address: ir.Value, offset: int = 0, align: int = 1) -> ir.Value:
    """Load the value `offset` bytes behind an address, which is a multiple of `align`."""
    return builder.load(_pointer(builder, kind, address, offset), align=align)


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, offset: int = 0, align: int = 1) -> None:
    builder.store(value, _pointer(builder, value.type, address, offset), align=align)


def _pointer(builder: ir.IRBuilder, kind: ir.Type, address: ir.Value, offset: int) -> ir.Value:
    return builder.inttoptr(builder.add(address, ir.Constant(address.type, offset)), kind.as_pointer())


def all_of(kind: ir.VectorType, value: int) -> ir.Constant:
    """A vector of one number."""
    return ir.Constant(kind, [value] * kind.count)


def shuffled(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, order: list[int]) -> ir.Value:
    """The elements of a and b, those of b counted on after those of a, in this order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


def narrowed(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType, lowest: int, highest: int) -> ir.Value:
    """Signed numbers as narrower ones, those beyond the bounds cut to them."""
    low, high = all_of(value.type, lowest), all_of(value.type, highest)
    value = builder.select(builder.icmp_signed("<", value, low), low, value)
    value = builder.select(builder.icmp_signed(">", value, high), high, value)
    return builder.trunc(value, kind)
