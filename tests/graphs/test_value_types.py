import pytest
from onnx import TensorProto, TypeProto, helper

from faceter.graphs.value_types import inner_types, is_tensor, type_name

TENSOR = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
MAP = helper.make_map_type_proto(TensorProto.INT64, TENSOR)


@pytest.mark.parametrize(
    ("proto", "name", "inner"),
    [
        (TENSOR, "float32", []),
        (helper.make_tensor_type_proto(TensorProto.STRING, None), "str", []),
        (helper.make_sequence_type_proto(TENSOR), "sequence(float32)", ["float32"]),
        (MAP, "map(int64, float32)", ["int64", "float32"]),
        (helper.make_sequence_type_proto(MAP), "sequence(map(int64, float32))", ["map(int64, float32)"]),
        (helper.make_optional_type_proto(TENSOR), "optional(float32)", ["float32"]),
        (TypeProto(), "unknown", []),
    ],
)
def test_types_have_names(proto: TypeProto, name: str, inner: list[str]) -> None:
    assert type_name(proto) == name
    assert inner_types(name) == inner
    assert is_tensor(name) == (not inner)
