import numpy as np
import onnx
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ChannelOrder, ModelMetadata, Preprocessing, Task
from faceter.engines.base import Interrupt
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.translation.check import Takes, check_generator
from tests.translation import generators
from tests.translation.generators import GeneratorBuilder, one_node

ENGINE = OnnxRuntimeEngine()


def taken(content: bytes, metadata: ModelMetadata | None = None, interrupt: Interrupt | None = None) -> Takes:
    return check_generator(content, metadata or ModelMetadata(), ENGINE, interrupt=interrupt)


def refused(content: bytes, words: str, kind: ProblemKind = ProblemKind.METHOD_NOT_APPLICABLE) -> None:
    with pytest.raises(FaceterError, match=words) as caught:
        taken(content)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("content", "multiple"),
    [
        (generators.inverter(), 1),
        (generators.resnet(), 4),
        (generators.resnet(up="nearest"), 4),
        (generators.unet(depth=3), 8),
        (generators.unet(channels=1, depth=8), 256),
    ],
)
def test_the_smallest_multiple_is_found_by_trial(content: bytes, multiple: int) -> None:
    found = taken(content)
    assert (found.input, found.output, found.size, found.multiple) == ("image", "translation", None, multiple)
    assert found.least % multiple == 0
    assert found.least >= 32


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_any_opset_will_do(opset: int) -> None:
    made = GeneratorBuilder()
    made.conv(3, 3)
    made.add("Tanh")
    assert taken(made.content(opset=opset)).multiple == 1


def test_a_generator_of_one_size_says_so() -> None:
    found = taken(generators.resnet(height=48, width=64, batch=1))
    assert (found.size, found.multiple) == ((48, 64), 1)


def test_a_model_that_takes_no_image_is_refused() -> None:
    made = GeneratorBuilder()
    made.conv(3, 4, 1, pads=[0] * 4)
    made.inputs[0].type.tensor_type.shape.dim[1].dim_value = 4
    refused(made.content(), "takes no image of three channels.*4")
    made = GeneratorBuilder()
    made.inputs.append(onnx.helper.make_tensor_value_info("noise", onnx.TensorProto.FLOAT, ["n", 3, "height", "width"]))
    made.add("Add", "image", "noise")
    refused(made.content(), "2 inputs")


def test_a_model_that_gives_no_image_is_refused() -> None:
    made = GeneratorBuilder()
    made.conv(5, 3)
    content = onnx.load_model_from_string(made.content())
    content.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(content)
    refused(inferred.SerializeToString(), "gives no image of three channels.*5")
    made = GeneratorBuilder()
    made.conv(10, 3)
    made.add("GlobalAveragePool")
    made.add("Flatten")
    model = onnx.load_model_from_string(made.content())
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("translation", onnx.TensorProto.FLOAT, ["n", 10]))
    refused(model.SerializeToString(), "gives no image")


def test_a_model_that_changes_the_size_is_refused() -> None:
    made = GeneratorBuilder()
    made.up(3, 3)
    refused(made.content(), "of the size it was given")
    refused(one_node("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), "of the size it was given")
    made = GeneratorBuilder()
    made.conv(3, 3, 3, pads=[0] * 4)
    refused(made.content(), "of the size it was given")
    made = GeneratorBuilder(height=32, width=32, batch=1)
    made.up(3, 3)
    refused(made.content(), "of the size it was given")


def test_half_precision_is_refused() -> None:
    made = GeneratorBuilder()
    made.add("Neg")
    refused(made.content(dtype=onnx.TensorProto.FLOAT16), "float32")


def test_a_fixed_batch_or_one_fixed_side_is_refused() -> None:
    refused(generators.inverter(batch=4), "4 images at a time")
    refused(generators.inverter(height=64), "one side is fixed")


def test_a_model_that_cannot_be_run_on_images_is_refused_with_its_words() -> None:
    made = GeneratorBuilder()
    made.add("Add", "image", made.constant(np.ones((1, 3, 1000, 1001), np.float32)))
    refused(made.content(), "could not be run.*1001")


@pytest.mark.parametrize("task", [task for task in Task if task not in (Task.IMAGE_TRANSLATION, Task.OTHER)])
def test_a_model_classed_otherwise_is_refused(task: Task) -> None:
    with pytest.raises(FaceterError, match="image_translation") as caught:
        taken(generators.inverter(), ModelMetadata(task=task))
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert taken(generators.inverter(), ModelMetadata(task=Task.IMAGE_TRANSLATION)).multiple == 1


def test_preprocessing_that_does_not_fit_is_refused() -> None:
    for said, words in (
        (Preprocessing(size=[8, 8], channel_order=ChannelOrder.GRAY), "grey"),
        (Preprocessing(size=[8, 8], input="photo"), "'photo'"),
    ):
        with pytest.raises(FaceterError, match=words) as caught:
            taken(generators.inverter(), ModelMetadata(preprocessing=said))
        assert caught.value.kind is ProblemKind.METADATA_MISMATCH


def test_an_interrupt_stops_the_trial() -> None:
    interrupt = Interrupt()
    interrupt.trigger()
    with pytest.raises(FaceterError, match="stopped") as caught:
        taken(generators.resnet(), interrupt=interrupt)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED
