"""Activation statistics: propagated through the graph, measured in forward passes, measured on noise."""

import math

import numpy as np
import onnx
import pytest

from faceter.contracts.models import TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from tests.graphs.builders import GraphBuilder, residual_net, run, with_outputs
from tests.workers.quantization.networks import prepared_for, request_for
from workers.onnx_module import OnnxModule
from workers.quantization.calibration import activation_statistics
from workers.quantization.clipping import Distribution, better_fit
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.methods import methods
from workers.quantization.noise import noise_batches, noise_images, pixel_range
from workers.quantization.observation import channel_moments, observe
from workers.quantization.propagation import propagate
from workers.quantization.statistics import StatisticsSource


def carried(net: GraphBuilder, source: str, channels: int) -> tuple[onnx.ModelProto, dict[str, ClampedGaussian]]:
    rng = np.random.default_rng(3)
    model = canonicalize(net.build())
    given = {source: ClampedGaussian.normal(rng.normal(size=channels), rng.uniform(0.5, 2, channels))}
    return model, propagate(model, given)


def sampled(model: onnx.ModelProto, source: ClampedGaussian, name: str, **rest: np.ndarray) -> np.ndarray:
    """Run the graph on channels drawn from the source's distribution."""
    rng = np.random.default_rng(0)
    channels = source.mean.size
    x = rng.normal(source.mean[:, None, None], source.deviation[:, None, None], (64, channels, 12, 12))
    (values,) = run(with_outputs(model, [name]), name, x=x.astype(np.float32), **rest)
    return np.asarray(values)


def channel_moments_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = (0, *range(2, values.ndim))
    return values.mean(axes), values.std(axes)


def zero() -> np.ndarray:
    return np.zeros((), np.float32)


def six() -> np.ndarray:
    return np.full((), 6, np.float32)


@pytest.mark.parametrize("case", ["relu", "relu6", "sum", "concat", "pad", "slice", "shift"])
def test_propagated_moments_equal_those_of_samples(case: str) -> None:
    net = GraphBuilder(["n", 4, 12, 12])
    match case:
        case "relu":
            net.add("Relu")
        case "relu6":
            net.add("Clip", "x", net.constant(zero()), net.constant(six()))
        case "sum":
            positive = net.add("Relu", "x")
            net.add("Add", positive, net.add("Neg", "x"), output="y")
        case "concat":
            net.add("Concat", net.add("Relu", "x"), "x", axis=1)
        case "pad":
            net.add("Pad", "x", net.constant(np.array([0, 1, 0, 0, 0, 2, 0, 0])))
        case "slice":
            indices = [net.constant(np.array(v)) for v in ([0, 1], [12, 4], [2, 1], [2, 2])]
            net.add("Slice", "x", *indices)
        case "shift":
            net.add("Add", "x", net.constant(np.arange(4, dtype=np.float32).reshape(4, 1, 1)))
    model, known = carried(net, "x", 4)
    output = net.last
    if case == "sum":
        assert output not in known, "the other summand has no distribution"
        return
    mean, deviation = channel_moments_of(sampled(model, known["x"], output))
    np.testing.assert_allclose(known[output].expectation(), mean, atol=0.05)
    np.testing.assert_allclose(np.sqrt(known[output].variance()), deviation, atol=0.05)


def test_a_residual_sum_adds_means_and_variances() -> None:
    net = GraphBuilder(["n", 4, 12, 12])
    net.inputs.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 4, 12, 12]))
    net.add("Relu", net.add("Add", "x", "z", output="sum"), output="y")
    model = canonicalize(net.build())
    a = ClampedGaussian.normal(np.array([0.0, 1.0, -1.0, 2.0]), np.array([1.0, 0.5, 2.0, 1.0]))
    b = ClampedGaussian.normal(np.array([1.0, -1.0, 0.0, 0.3]), np.array([0.4, 1.5, 1.0, 1.0])).clamp(0, math.inf)
    known = propagate(model, {"x": a, "z": b})
    rng = np.random.default_rng(1)
    z = np.maximum(rng.normal(b.mean[:, None, None], b.deviation[:, None, None], (64, 4, 12, 12)), 0)
    mean, deviation = channel_moments_of(sampled(model, a, "sum", z=z.astype(np.float32)))
    np.testing.assert_allclose(known["sum"].expectation(), mean, atol=0.05)
    np.testing.assert_allclose(np.sqrt(known["sum"].variance()), deviation, atol=0.05)
    assert known["y"].low.min() == 0


def test_a_reshape_that_mixes_channels_is_not_followed() -> None:
    net = GraphBuilder([1, 4, 12, 12])
    net.add("Reshape", "x", net.constant(np.array([1, 8, 6, 12])))
    _, known = carried(net, "x", 4)
    assert net.last not in known


def test_observed_statistics_are_those_of_all_batches_together() -> None:
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(24, 3, 5, 5)).astype(np.float32) * np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1)
    net = GraphBuilder(["n", 3, 5, 5])
    net.add("Relu", "x", output="y")
    network = OnnxModule(net.build())
    parts = [{"x": part} for part in np.array_split(x, 4)]
    seen = observe(network, parts, {"x": 1, "y": 1}, StatisticsSource.CALIBRATION)
    assert [seen["x"].low, seen["x"].high] == pytest.approx([float(x.min()), float(x.max())])
    np.testing.assert_allclose(seen["x"].channel_mean, x.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(seen["x"].shapes.deviation, x.std((0, 2, 3)), rtol=1e-4)
    spread = np.abs(x - x.mean((0, 2, 3), keepdims=True)).mean((0, 2, 3))
    np.testing.assert_allclose(seen["x"].shapes.absolute_deviation, spread, rtol=0.02)
    assert better_fit(float(spread[0]), float(x[:, 0].std())) is Distribution.LAPLACE
    assert seen["x"].shapes.laplace.all()
    y = np.maximum(x, 0)
    assert seen["y"].one_sided
    assert seen["y"].shapes.rounded == pytest.approx(float((y > 0).mean()))
    np.testing.assert_allclose(seen["y"].shapes.absolute_deviation[0], y[:, 0][y[:, 0] > 0].mean(), rtol=1e-4)


def test_channel_moments_are_numpys() -> None:
    x = np.random.default_rng(0).normal(2, 3, (10, 3, 4, 4)).astype(np.float32)
    net = GraphBuilder(["n", 3, 4, 4])
    net.add("Neg", "x", output="y")
    moments = channel_moments(OnnxModule(net.build()), [{"x": x[:7]}, {"x": x[7:]}], ["y"])
    np.testing.assert_allclose(moments["y"][0], -x.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(moments["y"][1], x.std((0, 2, 3)), rtol=1e-4)


def test_observing_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no batches"):
        observe(OnnxModule(residual_net()), [], {"image": 1}, StatisticsSource.NOISE)


def test_every_quantized_tensor_gets_statistics_from_the_best_source() -> None:
    prepared = prepared_for(residual_net(0))
    statistics = activation_statistics(prepared, prepared.sites())
    sources = {name: item.source for name, item in statistics.tensors.items()}
    assert sources["image"] is StatisticsSource.KNOWN
    assert StatisticsSource.BATCH_NORM in sources.values()
    assert StatisticsSource.NOISE in sources.values(), "the branch without BatchNorm"
    assert "from BatchNorm statistics" in statistics.warnings()[0]


def test_ranges_of_an_image_are_those_of_its_pixels() -> None:
    preprocessing = Preprocessing(size=[8, 8], scale=1 / 255, mean=[0.5, 0.4, 0.3], std=[0.25, 0.25, 0.5])
    assert list(pixel_range(preprocessing)) == pytest.approx([-2.0, 2.4])
    plan = methods[QuantizationMethod.RQ](prepared_for(residual_net(0)), request_for(activation_bits=4)).plan
    quantizer = plan.activations["image"]
    assert quantizer.bits == 8
    assert quantizer.low == pytest.approx(-2, abs=0.02)
    assert quantizer.high == pytest.approx(2, abs=0.02)


def test_noise_images_are_smooth_and_within_the_pixels() -> None:
    images = noise_images(64, 3, 32, 32, np.random.default_rng(0))
    assert images.shape == (64, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 255
    left, right = images[..., :-1] - 127.5, images[..., 1:] - 127.5
    assert (left * right).mean() / np.square(images - 127.5).mean() > 0.6, "neighbours are alike, unlike white noise"
    assert 20 < images.std() < 90


def test_noise_is_seeded_and_shaped_like_the_inputs() -> None:
    net = GraphBuilder(["n", 3, 8, 8], name="image")
    net.inputs.append(onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, ["n", 7]))
    net.add("Gather", net.weight(11, 4), "tokens", output="words")
    net.add("Relu", "image", output="y")
    model = net.build("y", "words")
    specs = [
        TensorSpec(name="image", dtype="float32", shape=["n", 3, 8, 8]),
        TensorSpec(name="tokens", dtype="int64", shape=["n", 7]),
    ]

    def draw(seed: int) -> list[dict[str, np.ndarray]]:
        return list(noise_batches(model, specs, None, samples=10, batch=4, seed=seed))

    first, again, other = draw(1), draw(1), draw(2)
    assert [len(batch["image"]) for batch in first] == [4, 4, 2]
    assert first[0]["tokens"].dtype == np.int64
    assert max(batch["tokens"].max() for batch in first) < 11
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])
        assert not np.array_equal(a["image"], c["image"])


def test_a_fixed_batch_is_kept() -> None:
    specs = [TensorSpec(name="x", dtype="float32", shape=[3, 2])]
    net = GraphBuilder([3, 2])
    net.add("Relu", "x")
    sizes = [len(batch["x"]) for batch in noise_batches(net.build(), specs, None, samples=7, batch=4, seed=0)]
    assert sizes == [3, 3, 3]


def test_folding_gives_the_statistics_of_what_follows() -> None:
    folded = fold_batch_norms(canonicalize(residual_net(0)))
    known = propagate(folded.model, {k: ClampedGaussian.normal(v.beta, v.gamma) for k, v in folded.statistics.items()})
    assert len(known) > len(folded.statistics)
