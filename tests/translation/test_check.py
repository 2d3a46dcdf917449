import numpy as np
import onnx
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.engines.base import Interrupt
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.translation.check import GeneratorSignature, check_generator
from tests.translation import generators
from tests.translation.generators import GeneratorBuilder, one_node

ENGINE = OnnxRuntimeEngine()


def signature(
    content: bytes, metadata: ModelMetadata | None = None, interrupt: Interrupt | None = None
) -> GeneratorSignature:
    return check_generator(content, metadata or ModelMetadata(), ENGINE, interrupt=interrupt)


def refused(content: bytes, words: str, kind: ProblemKind = ProblemKind.METHOD_NOT_APPLICABLE) -> None:
    with pytest.raises(FaceterError, match=words) as caught:
        signature(content)
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
    result = signature(content)
    assert (result.input, result.output, result.size, result.multiple) == ("image", "translation", None, multiple)
    assert result.min_side % multiple == 0
    assert result.min_side >= 32


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_any_opset_is_accepted(opset: int) -> None:
    builder = GeneratorBuilder()
    builder.conv(3, 3)
    builder.add("Tanh")
    assert signature(builder.content(opset=opset)).multiple == 1


def test_a_generator_of_fixed_size() -> None:
    result = signature(generators.resnet(height=48, width=64, batch=1))
    assert (result.size, result.multiple) == ((48, 64), 1)


def test_a_model_without_an_image_input_is_refused() -> None:
    builder = GeneratorBuilder()
    builder.conv(3, 4, 1, pads=[0] * 4)
    builder.inputs[0].type.tensor_type.shape.dim[1].dim_value = 4
    refused(builder.content(), "takes no image of three channels.*4")
    builder = GeneratorBuilder()
    builder.inputs.append(
        onnx.helper.make_tensor_value_info("noise", onnx.TensorProto.FLOAT, ["n", 3, "height", "width"])
    )
    builder.add("Add", "image", "noise")
    refused(builder.content(), "2 inputs")


def test_a_model_without_an_image_output_is_refused() -> None:
    builder = GeneratorBuilder()
    builder.conv(5, 3)
    content = onnx.load_model_from_string(builder.content())
    content.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(content)
    refused(inferred.SerializeToString(), "gives no image of three channels.*5")
    builder = GeneratorBuilder()
    builder.conv(10, 3)
    builder.add("GlobalAveragePool")
    builder.add("Flatten")
    model = onnx.load_model_from_string(builder.content())
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("translation", onnx.TensorProto.FLOAT, ["n", 10]))
    refused(model.SerializeToString(), "gives no image")


def test_a_model_that_changes_the_size_is_refused() -> None:
    builder = GeneratorBuilder()
    builder.up(3, 3)
    refused(builder.content(), "of the size it was given")
    refused(one_node("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), "of the size it was given")
    builder = GeneratorBuilder()
    builder.conv(3, 3, 3, pads=[0] * 4)
    refused(builder.content(), "of the size it was given")
    builder = GeneratorBuilder(height=32, width=32, batch=1)
    builder.up(3, 3)
    refused(builder.content(), "of the size it was given")


def test_half_precision_is_refused() -> None:
    builder = GeneratorBuilder()
    builder.add("Neg")
    refused(builder.content(dtype=onnx.TensorProto.FLOAT16), "float32")


def test_a_fixed_batch_or_one_fixed_side_is_refused() -> None:
    refused(generators.inverter(batch=4), "4 images at a time")
    refused(generators.inverter(height=64), "one side is fixed")


def test_a_model_that_fails_on_images_is_refused_with_the_engines_message() -> None:
    builder = GeneratorBuilder()
    builder.add("Add", "image", builder.constant(np.ones((1, 3, 1000, 1001), np.float32)))
    refused(builder.content(), "could not be run.*1001")


@pytest.mark.parametrize("task", [task for task in Task if task not in (Task.IMAGE_TRANSLATION, Task.OTHER)])
def test_a_model_of_another_task_is_refused(task: Task) -> None:
    with pytest.raises(FaceterError, match="image_translation") as caught:
        signature(generators.inverter(), ModelMetadata(task=task))
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert signature(generators.inverter(), ModelMetadata(task=Task.IMAGE_TRANSLATION)).multiple == 1


def test_preprocessing_that_does_not_fit_is_refused() -> None:
    for preprocessing, words in (
        (Preprocessing(size=[8, 8], channel_order=ChannelOrder.GRAY), "grey"),
        (Preprocessing(size=[8, 8], input="photo"), "'photo'"),
        (Preprocessing(size=[8, 8], layout="channels_last"), "channels first"),
    ):
        with pytest.raises(FaceterError, match=words) as caught:
            signature(generators.inverter(), ModelMetadata(preprocessing=preprocessing))
        assert caught.value.kind is ProblemKind.METADATA_MISMATCH


def test_an_interrupt_stops_the_trial_runs() -> None:
    interrupt = Interrupt()
    interrupt.trigger()
    with pytest.raises(FaceterError, match="stopped") as caught:
        signature(generators.resnet(), interrupt=interrupt)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED
