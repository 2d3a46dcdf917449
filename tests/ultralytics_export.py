"""A network of YOLOv8's form, small, exported as Ultralytics' own exporter does, with the same metadata_props.

Modules and their names follow ``ultralytics.nn.modules`` (after fusion of BatchNorm), so that nodes are called
``/model.22/cv2.0/cv2.0.0/conv/Conv`` and so on, as in a real file. Weights are random; the last layers are scaled so
that some boxes of an image of noise have scores above 0.3, and most have not.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import onnx
import torch
from torch import Tensor, nn

_COCO: Final = """
person;bicycle;car;motorcycle;airplane;bus;train;truck;boat;traffic light;fire hydrant;stop sign;parking meter;bench
bird;cat;dog;horse;sheep;cow;elephant;bear;zebra;giraffe;backpack;umbrella;handbag;tie;suitcase;frisbee;skis;snowboard
sports ball;kite;baseball bat;baseball glove;skateboard;surfboard;tennis racket;bottle;wine glass;cup;fork;knife;spoon
bowl;banana;apple;sandwich;orange;broccoli;carrot;hot dog;pizza;donut;cake;chair;couch;potted plant;bed;dining table
toilet;tv;laptop;mouse;remote;keyboard;cell phone;microwave;oven;toaster;sink;refrigerator;book;clock;vase;scissors
teddy bear;hair drier;toothbrush
"""
COCO_NAMES: Final = tuple(_COCO.strip().replace("\n", ";").split(";"))
STRIDES: Final = (8, 16, 32)
REG_MAX: Final = 16
MASKS: Final = 32
KEYPOINTS: Final = 17
_WIDTHS: Final = (4, 8, 16, 32, 64)
_SEED: Final = 8


class Conv(nn.Module):
    """Convolution, its BatchNorm already folded, and SiLU."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.conv(x))
        return result


class Bottleneck(nn.Module):
    def __init__(self, c: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1, self.cv2, self.add = Conv(c, c, 3), Conv(c, c, 3), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C2f(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.c = c2 // 2
        self.cv1, self.cv2 = Conv(c1, 2 * self.c), Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(Bottleneck(self.c, shortcut) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        y = list(torch.split(self.cv1(x), [self.c, self.c], 1))
        y.extend(m(y[-1]) for m in self.m)
        result: Tensor = self.cv2(torch.cat(y, 1))
        return result


class SPPF(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c1 // 2), Conv(c1 // 2 * 4, c2)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = [self.cv1(x)]
        y.extend(self.m(y[-1]) for _ in range(3))
        result: Tensor = self.cv2(torch.cat(y, 1))
        return result


class Concat(nn.Module):
    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(x), 1)


class DFL(nn.Module):
    """Expectation over the bins of each side of a box."""

    def __init__(self, c1: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, 1, 1, bias=False)
        self.conv.weight.data[:] = torch.arange(c1, dtype=torch.float32).view(1, c1, 1, 1)
        self.c1 = c1

    def forward(self, x: Tensor) -> Tensor:
        b, _, a = x.shape
        result: Tensor = self.conv(x.view(b, 4, self.c1, a).transpose(2, 1).softmax(1)).view(b, 4, a)
        return result


def make_anchors(feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the middle of each cell in cells, [A, 2], and its stride, [A, 1]."""
    points, strides = [], []
    for x, stride in zip(feats, STRIDES, strict=True):
        h, w = x.shape[2:]
        sx = torch.arange(end=w, dtype=torch.float32) + 0.5
        sy = torch.arange(end=h, dtype=torch.float32) + 0.5
        grid_y, grid_x = torch.meshgrid(sy, sx, indexing="ij")
        points.append(torch.stack((grid_x, grid_y), -1).view(-1, 2))
        strides.append(torch.full((h * w, 1), stride, dtype=torch.float32))
    return torch.cat(points), torch.cat(strides)


class Detect(nn.Module):
    """Head of YOLOv8: classes and distances by bins at three strides, decoded in the graph."""

    def __init__(self, nc: int, ch: Sequence[int]) -> None:
        super().__init__()
        self.nc = nc
        c2, c3 = max(16, ch[0] // 4, REG_MAX * 4), max(ch[0], min(nc, 100))
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(x, c2, 3), Conv(c2, c2, 3), nn.Conv2d(c2, 4 * REG_MAX, 1)) for x in ch
        )
        self.cv3 = nn.ModuleList(nn.Sequential(Conv(x, c3, 3), Conv(c3, c3, 3), nn.Conv2d(c3, nc, 1)) for x in ch)
        self.dfl = DFL(REG_MAX)

    def detect(self, x: Sequence[Tensor]) -> Tensor:
        """Return [N, 4 + nc, A]: centre and size in input pixels, and class probabilities."""
        shape = x[0].shape
        levels = [torch.cat((cv2(item), cv3(item)), 1) for item, cv2, cv3 in zip(x, self.cv2, self.cv3, strict=True)]
        x_cat = torch.cat([item.view(shape[0], self.nc + REG_MAX * 4, -1) for item in levels], 2)
        anchors, strides = (item.transpose(0, 1) for item in make_anchors(levels))
        box, cls = torch.split(x_cat, [REG_MAX * 4, self.nc], 1)
        lt, rb = self.dfl(box).chunk(2, 1)
        x1y1, x2y2 = anchors.unsqueeze(0) - lt, anchors.unsqueeze(0) + rb
        dbox = torch.cat(((x1y1 + x2y2) / 2, x2y2 - x1y1), 1) * strides
        return torch.cat((dbox, cls.sigmoid()), 1)

    def forward(self, x: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        return self.detect(x)


class Proto(nn.Module):
    def __init__(self, c1: int, c_: int, c2: int) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = Conv(c1, c_, 3), Conv(c_, c_, 3), Conv(c_, c2)
        self.upsample = nn.ConvTranspose2d(c_, c_, 2, 2, 0)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return result


class Segment(Detect):
    """``Detect`` with mask coefficients after the classes, and prototypes [N, 32, H/4, W/4] as a second output."""

    def __init__(self, nc: int, ch: Sequence[int]) -> None:
        super().__init__(nc, ch)
        self.proto = Proto(ch[0], ch[0], MASKS)
        c4 = max(ch[0] // 4, MASKS)
        self.cv4 = nn.ModuleList(nn.Sequential(Conv(x, c4, 3), Conv(c4, c4, 3), nn.Conv2d(c4, MASKS, 1)) for x in ch)

    def forward(self, x: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        bs = x[0].shape[0]
        mc = torch.cat([cv4(item).view(bs, MASKS, -1) for item, cv4 in zip(x, self.cv4, strict=True)], 2)
        return torch.cat((self.detect(x), mc), 1), self.proto(x[0])


class Pose(Detect):
    """``Detect`` with 17 key points after the classes: x, y in input pixels and visibility."""

    def __init__(self, nc: int, ch: Sequence[int]) -> None:
        super().__init__(nc, ch)
        self.nk = KEYPOINTS * 3
        c4 = max(ch[0] // 4, self.nk)
        self.cv4 = nn.ModuleList(nn.Sequential(Conv(x, c4, 3), Conv(c4, c4, 3), nn.Conv2d(c4, self.nk, 1)) for x in ch)

    def forward(self, x: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        bs = x[0].shape[0]
        kpt = torch.cat([cv4(item).view(bs, self.nk, -1) for item, cv4 in zip(x, self.cv4, strict=True)], 2)
        anchors, strides = (item.transpose(0, 1) for item in make_anchors(x))
        y = kpt.view(bs, KEYPOINTS, 3, -1)
        a = (y[:, :, :2] * 2.0 + (anchors - 0.5)) * strides
        points = torch.cat((a, y[:, :, 2:3].sigmoid()), 2).view(bs, self.nk, -1)
        return torch.cat((self.detect(x), points), 1)


_HEADS: Final[Mapping[str, type[Detect]]] = {"detect": Detect, "segment": Segment, "pose": Pose}


class YoloV8(nn.Module):
    """The layers of ``yolov8.yaml`` at its smallest depth, and narrower."""

    def __init__(self, nc: int, task: str) -> None:
        super().__init__()
        w = _WIDTHS
        up = [nn.Upsample(scale_factor=2, mode="nearest") for _ in range(2)]
        self.model = nn.ModuleList(
            [
                *(Conv(3, w[0], 3, 2), Conv(w[0], w[1], 3, 2), C2f(w[1], w[1], 1, True)),
                *(Conv(w[1], w[2], 3, 2), C2f(w[2], w[2], 2, True)),
                *(Conv(w[2], w[3], 3, 2), C2f(w[3], w[3], 2, True)),
                *(Conv(w[3], w[4], 3, 2), C2f(w[4], w[4], 1, True), SPPF(w[4], w[4])),
                *(up[0], Concat(), C2f(w[4] + w[3], w[3])),
                *(up[1], Concat(), C2f(w[3] + w[2], w[2])),
                *(Conv(w[2], w[2], 3, 2), Concat(), C2f(w[2] + w[3], w[3])),
                *(Conv(w[3], w[3], 3, 2), Concat(), C2f(w[3] + w[4], w[4])),
                _HEADS[task](nc, w[2:5]),
            ]
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        others = {11: 6, 14: 4, 17: 12, 20: 9}
        y: list[Tensor] = []
        for index, layer in enumerate(self.model[:-1]):
            x = layer([x, y[others[index]]] if index in others else x)
            y.append(x)
        result: Tensor | tuple[Tensor, ...] = self.model[-1]([y[15], y[18], y[21]])
        return result


def _initialize(module: YoloV8) -> None:
    """Draw weights that keep the variance through SiLU, and a head that gives a few high scores."""
    generator = torch.Generator().manual_seed(_SEED)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and "dfl" not in name:
            fan_in = layer.weight[:, 0].numel() if isinstance(layer, nn.ConvTranspose2d) else layer.weight[0].numel()
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * math.sqrt(2.0 / fan_in)
            assert layer.bias is not None
            layer.bias.data = torch.randn(layer.bias.shape, generator=generator) * 0.1
    head = module.model[-1]
    assert isinstance(head, Detect)
    rare = -5.0 - 1.5 * math.log10(head.nc)
    lasts = [(level, rare, 1.3) for level in head.cv3] + [(level, 0.0, 1.5) for level in head.cv2]
    coarse = torch.rand(2, 3, 24, 24, generator=generator)
    _standardize(module, lasts, nn.functional.interpolate(coarse, scale_factor=16.0, mode="nearest"))


def _standardize(module: nn.Module, levels: Sequence[tuple[nn.Module, float, float]], image: Tensor) -> None:
    """Scale and shift the last convolution of each level so that its output has this mean and deviation by channel."""
    handles = []
    for level, mean, deviation in levels:
        assert isinstance(level, nn.Sequential)

        def adjust(last: nn.Module, _: object, y: Tensor, mean: float = mean, deviation: float = deviation) -> None:
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            factor = deviation / y.std((0, 2, 3))
            last.weight.data *= factor[:, None, None, None]
            last.bias.data = (last.bias.data - y.mean((0, 2, 3))) * factor + mean

        handles.append(level[-1].register_forward_hook(adjust))
    with torch.no_grad():
        module(image)
    for handle in handles:
        handle.remove()


def _properties(task: str, names: Sequence[str], size: Sequence[int], args: Mapping[str, object]) -> dict[str, str]:
    """Return metadata_props as ``ultralytics.engine.exporter`` 8.3 writes them."""
    suffix = {"detect": "", "segment": "-seg", "pose": "-pose"}[task]
    data = "/ultralytics/cfg/datasets/coco-pose.yaml" if task == "pose" else "/usr/src/ultralytics/coco.yaml"
    properties = {
        "description": f"Ultralytics YOLOv8n{suffix} model trained on {data}",
        "author": "Ultralytics",
        "date": "2025-03-11T09:24:07.519370",
        "version": "8.3.86",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        "stride": str(max(STRIDES)),
        "task": task,
        "batch": "1",
        "imgsz": str(list(size)),
        "names": str(dict(enumerate(names))),
        "args": str(dict(args)),
        "channels": "3",
    }
    return properties | ({"kpt_shape": str([KEYPOINTS, 3])} if task == "pose" else {})


@lru_cache(maxsize=16)
def _exported(task: str, classes: int, size: tuple[int, int], open_size: bool, opset: int) -> bytes:
    module = YoloV8(classes, task).eval()
    _initialize(module)
    axes: dict[str, dict[int, str]] = {}
    outputs = ["output0", "output1"] if task == "segment" else ["output0"]
    if open_size:
        axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "anchors"}}
        if task == "segment":
            axes |= {"output0": {0: "batch", 2: "anchors"}, "output1": {0: "batch", 2: "mask_height", 3: "mask_width"}}
    with warnings.catch_warnings(), torch.no_grad(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, *size),),
            Path(folder) / "exported.onnx",
            dynamo=False,
            opset_version=opset,
            do_constant_folding=True,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes=axes or None,
        )
        return (Path(folder) / "exported.onnx").read_bytes()


def _simplify(model: onnx.ModelProto, channels: int) -> None:
    """Make constants initializers and name the size of the output, as onnxslim does after the export."""
    kept = [node for node in model.graph.node if node.op_type != "Constant"]
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = channels


def ultralytics_yolov8(
    open_size: bool = True,
    *,
    task: str = "detect",
    names: Sequence[str] | None = None,
    size: tuple[int, int] = (640, 640),
    opset: int = 19,
    simplify: bool = True,
    properties: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Return a detector of YOLOv8's form as Ultralytics exports it.

    Args:
        open_size: Whether batch, height and width are open (``dynamic=True`` of the exporter).
        task: `detect`, `segment` or `pose`.
        names: Names of the classes; by default those of COCO, and `person` for `pose`.
        size: Height and width, multiples of 32 (``imgsz`` of the exporter).
        opset: Opset of the file.
        simplify: Whether constants are initializers and the output's axis of values has a size (the default of the
            exporter since 8.2).
        properties: Values to put in place of those that the exporter writes, or beside them.
    """
    labels = tuple(names or (("person",) if task == "pose" else COCO_NAMES))
    model = onnx.load_from_string(_exported(task, len(labels), size, open_size, opset))
    if simplify:
        _simplify(model, 4 + len(labels) + {"detect": 0, "segment": MASKS, "pose": KEYPOINTS * 3}[task])
    args = {"batch": 1, "half": False, "dynamic": open_size, "simplify": simplify, "opset": None, "nms": False}
    props = _properties(task, labels, size, args) | dict(properties or {})
    del model.metadata_props[:]
    for key, value in props.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model
