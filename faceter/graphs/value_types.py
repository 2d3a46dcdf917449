"""Names of the types of inputs and outputs: tensors, sequences, maps and optional values."""

import onnx

from faceter.graphs.shapes import dtype_name


def type_name(value: onnx.TypeProto) -> str:
    """Return numpy's name of a tensor's element type, or ``sequence(float32)``, ``map(int64, float32)`` and the like.

    Types within types are named in the same way; what has no type is called ``unknown``.
    """
    match value.WhichOneof("value"):
        case "tensor_type":
            return dtype_name(value.tensor_type.elem_type) if value.tensor_type.elem_type else "unknown"
        case "sequence_type":
            return f"sequence({type_name(value.sequence_type.elem_type)})"
        case "optional_type":
            return f"optional({type_name(value.optional_type.elem_type)})"
        case "map_type":
            return f"map({dtype_name(value.map_type.key_type)}, {type_name(value.map_type.value_type)})"
        case _:
            return "unknown"


def is_tensor(dtype: str) -> bool:
    """Whether a type that `type_name` names is that of a tensor."""
    return "(" not in dtype


def inner_types(dtype: str) -> list[str]:
    """Return the types that a sequence, map or optional value is made of; none for a tensor.

    Example:
        >>> inner_types("sequence(map(int64, float32))")
        ['map(int64, float32)']
        >>> inner_types("map(int64, float32)")
        ['int64', 'float32']
    """
    if is_tensor(dtype):
        return []
    inside = dtype[dtype.index("(") + 1 : -1]
    if dtype.startswith("map("):
        key, _, value = inside.partition(", ")
        return [key, value]
    return [inside]
