import onnx

from faceter.graphs.check import check_model
from faceter.graphs.describe import describe
from faceter.graphs.properties import shown_properties
from tests.engines import graphs

MOST = 2**31


def with_properties(**properties: str) -> onnx.ModelProto:
    model = onnx.load_from_string(graphs.classifier())
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    return model


def entry(key: bytes, value: bytes) -> bytes:
    """Return one more entry of metadata_props as it stands in a file."""
    inner = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x72" + bytes([len(inner)]) + inner


def test_properties_are_shown_with_the_producer() -> None:
    model = with_properties(author="someone", empty="")
    model.producer_name, model.producer_version = "maker", "1.2"
    graph = describe(check_model(model.SerializeToString(), max_bytes=MOST).model)
    assert graph.properties == {"author": "someone", "empty": ""}
    assert graph.producer == "maker 1.2"
    assert graph.properties_cut == {}


def test_long_values_are_cut_and_said() -> None:
    shown = shown_properties(with_properties(character="a" * 13_245, short="b"))
    assert len(shown.values["character"]) == 2_000
    assert shown.cut == {"character": 13_245}
    assert shown.values["short"] == "b"


def test_many_and_long_names_are_left_out_and_counted() -> None:
    model = with_properties(**{f"p{number}": "x" for number in range(130)})
    assert len(shown_properties(model).values) == 100
    assert shown_properties(model).left_out == 30
    assert shown_properties(with_properties(**{"n" * 500: "x"})).left_out == 1


def test_text_that_is_none_is_ignored_with_a_warning() -> None:
    content = with_properties(good="yes").SerializeToString() + entry(b"bad", b"\xff\xfe") + entry(b"\xff", b"x")
    checked = check_model(content, max_bytes=MOST)
    assert describe(checked.model).properties == {"good": "yes"}
    assert any("2 are not UTF-8" in warning for warning in checked.warnings)


def test_of_a_repeated_name_the_last_value_counts() -> None:
    content = with_properties(task="detect").SerializeToString() + entry(b"task", b"pose")
    checked = check_model(content, max_bytes=MOST)
    assert describe(checked.model).properties == {"task": "pose"}
    assert any("again later" in warning for warning in checked.warnings)


def test_notes_that_are_not_text_do_not_matter() -> None:
    model = with_properties()
    model.graph.node[0].doc_string = "abcd"
    content = model.SerializeToString().replace(b"abcd", b"\xff\xfe\xff\xfe")
    assert check_model(content, max_bytes=MOST).warnings == ()
