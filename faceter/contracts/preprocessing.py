"""Preprocessing: how an image becomes a model's input."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from faceter.contracts.base import Contract


class ResizeRule(StrEnum):
    """How an image is resized to the input size of the model."""

    STRETCH = "stretch"
    """Scale both sides independently."""
    CROP = "crop"
    """Scale to cover the input size, keeping the aspect ratio, then crop the centre."""
    PAD = "pad"
    """Scale to fit, keeping the aspect ratio, centre, and fill the margin with `pad_value`."""


class ChannelOrder(StrEnum):
    """Channel order of the model input."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class Interpolation(StrEnum):
    """How pixels of a resized image are interpolated."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    AREA = "area"
    """Mean over the area of the image that a pixel covers."""


class Resampler(StrEnum):
    """Library whose resizing is followed: its kernels, its rounding of sizes and of pixel values."""

    PILLOW = "pillow"
    """As torchvision and timm on PIL images. Antialiased; values rounded to whole pixel values."""
    OPENCV = "opencv"
    """As `cv2.resize`. Not antialiased; values rounded."""
    TENSORFLOW = "tensorflow"
    """As `tf.image.resize`: half-pixel centres, not antialiased by default, values not rounded; cropped before."""
    TORCH = "torch"
    """As torchvision on tensors (`torch.nn.functional.interpolate`); antialiased by default, values rounded."""


class Decoder(StrEnum):
    """How an image file becomes pixels."""

    FULL = "full"
    """Decode every image at its full size."""
    SCALED = "scaled"
    """Decode a JPEG at the smallest of 1, 1/2, 1/4 and 1/8 of its size that resizing does not enlarge; other formats
    at their full size."""


class PreprocessingPreset(StrEnum):
    """A published preprocessing by name; fields given beside it take precedence."""

    IMAGENET_TORCHVISION = "imagenet-torchvision"
    """torchvision: `Resize(256)`, `CenterCrop(224)`, `ToTensor`, `Normalize`, on PIL images."""
    IMAGENET_TIMM = "imagenet-timm"
    """timm: evaluation with `crop_pct` 0.875, bicubic, on PIL images."""
    IMAGENET_TF = "imagenet-tf"
    """TF-Slim's Inception evaluation: `central_crop(0.875)`, `resize`, values from −1 to 1."""
    YOLO_LETTERBOX = "yolo-letterbox"
    """Ultralytics: `LetterBox(auto=False)`, RGB / 255."""
    PADDLE = "paddle"
    """PaddleClas: `ResizeImage(resize_short=256)`, `CropImage(224)`, `NormalizeImage`, RGB."""


_IMAGENET: Final[dict[str, Any]] = {
    "size": [224, 224],
    "resize": "crop",
    "crop_fraction": 0.875,
    "channel_order": "rgb",
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}

PRESETS: Final[dict[PreprocessingPreset, dict[str, Any]]] = {
    PreprocessingPreset.IMAGENET_TORCHVISION: {**_IMAGENET, "interpolation": "bilinear", "resampler": "pillow"},
    PreprocessingPreset.IMAGENET_TIMM: {**_IMAGENET, "interpolation": "bicubic", "resampler": "pillow"},
    PreprocessingPreset.IMAGENET_TF: {
        "size": [299, 299],
        "resize": "stretch",
        "crop_fraction": 0.875,
        "interpolation": "bilinear",
        "resampler": "tensorflow",
        "channel_order": "rgb",
        "scale": 1 / 127.5,
        "mean": [1.0],
        "std": [1.0],
    },
    PreprocessingPreset.YOLO_LETTERBOX: {
        "size": [640, 640],
        "resize": "pad",
        "pad_value": 114,
        "interpolation": "bilinear",
        "resampler": "opencv",
        "channel_order": "rgb",
        "scale": 1 / 255,
        "mean": [0.0],
        "std": [1.0],
    },
    PreprocessingPreset.PADDLE: {**_IMAGENET, "interpolation": "bilinear", "resampler": "opencv"},
}
"""Values of the presets; the other fields keep their defaults, and `antialias` follows from the resampler."""

_ANTIALIASED: Final = (Interpolation.BILINEAR, Interpolation.BICUBIC, Interpolation.LANCZOS)
"""Interpolations with an antialiased form."""


def _size_or_preset(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema.get("required", []) if name != "size"]
    schema["anyOf"] = [{"required": ["size"]}, {"required": ["preset"]}]


class Preprocessing(Contract):
    """Conversion of an image to the model input: (pixel · scale − mean) / std of the resized image.

    A `preset` fills in all fields that are not given.
    """

    model_config = ConfigDict(allow_inf_nan=False, json_schema_extra=_size_or_preset)

    preset: PreprocessingPreset | None = Field(default=None, examples=["imagenet-timm"])
    """Published preprocessing whose values apply where no other is given."""
    input: str | None = Field(default=None, examples=["image"])
    """Name of the image input; by default the only input of rank 4."""
    layout: Literal["channels_first", "channels_last"] | None = Field(default=None, examples=["channels_first"])
    """Axes of the input: [N, C, H, W] or [N, H, W, C]. By default found on upload from the shape of the input, else
    from the graph."""
    size: Annotated[list[Annotated[int, Field(gt=0, le=16384)]], Field(min_length=2, max_length=2)] = Field(
        examples=[[32, 32]]
    )
    """Height and width in pixels. With a `preset` by default that of the model's input, else that of the preset."""
    resize: ResizeRule = ResizeRule.STRETCH
    """How images are resized to this size."""
    crop_fraction: float | None = Field(default=None, ge=0.01, le=1, examples=[0.875])
    """Share of each side that is kept (224 / 256 = 0.875, timm's `crop_pct`). The image is resized to
    ⌊`size` / `crop_fraction`⌋ and its centre cut out, at whole pixels; with the resampler `tensorflow` the centre is
    cut out first and then resized. If null, with the resampler `pillow`, the whole centre is taken, at fractions of
    pixels."""
    interpolation: Interpolation = Interpolation.BILINEAR
    """How pixels are interpolated."""
    antialias: bool = True
    """Whether the kernel grows as an image shrinks. By default as in the `resampler`: true for `pillow` and `torch`,
    false for `opencv` and `tensorflow`."""
    resampler: Resampler = Resampler.PILLOW
    """Library whose resizing is followed; if only `antialias` false is given, `opencv`."""
    channel_order: ChannelOrder = ChannelOrder.RGB
    """Channel order of the input."""
    scale: float = Field(default=1 / 255, gt=0, examples=[1 / 255])
    """Factor on pixel values from 0 to 255; for an input of uint8 by default 1."""
    mean: list[float] = Field(default=[0.0], min_length=1, max_length=3, examples=[[0.485, 0.456, 0.406]])
    """Mean, subtracted after scaling; one value, or one per channel in `channel_order`."""
    std: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1.0], min_length=1, max_length=3, examples=[[0.229, 0.224, 0.225]]
    )
    """Standard deviation, divisor after subtracting the mean; one value, or one per channel in `channel_order`."""
    pad_value: int = Field(default=114, ge=0, le=255)
    """Pixel value of the margin if `resize` is `pad`."""
    decoder: Decoder = Decoder.FULL
    """How image files are decoded: at their full size, or, with `scaled`, a JPEG at the smallest of 1, 1/2, 1/4 and 1/8
    of its size that resizing does not enlarge. That takes less time and memory, and changes pixel values a little,
    alike in predictions, datasets and explanations. Boxes stay in pixels of the whole image. `translate` always decodes
    at full size."""

    @property
    def channels(self) -> int:
        """Number of channels of the input."""
        return 1 if self.channel_order is ChannelOrder.GRAY else 3

    @property
    def channels_last(self) -> bool:
        """Whether the input is [N, H, W, C]; a layout that was never said nor found is channels first."""
        return self.layout == "channels_last"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image in the layout of the input: (C, H, W) or (H, W, C)."""
        height, width = self.size
        return (height, width, self.channels) if self.channels_last else (self.channels, height, width)

    @model_validator(mode="wrap")
    @classmethod
    def _with_preset(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Fill in the values of a preset; `model_fields_set` keeps only the fields that were given."""
        if not isinstance(values, dict):
            return handler(values)
        made = handler(_resolved(values))
        object.__setattr__(made, "__pydantic_fields_set__", set(values) & set(cls.model_fields))
        return made

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in ("mean", "std"):
            length = len(getattr(self, name))
            if length not in (1, self.channels):
                raise ValueError(f"{name} has {length} values, but {self.channel_order} takes 1 or {self.channels}")
        if self.crop_fraction is not None and self.resize is ResizeRule.PAD:
            raise ValueError("crop_fraction is for resize crop or stretch, not for pad, which keeps the whole image")
        if self.resampler is Resampler.TORCH and self.interpolation is Interpolation.LANCZOS:
            raise ValueError("resampler torch has no interpolation lanczos; pillow, opencv and tensorflow have")
        if self.interpolation in _ANTIALIASED:
            if self.resampler is Resampler.PILLOW and not self.antialias:
                raise ValueError("Pillow always antialiases; without antialias choose resampler opencv or another")
            if self.resampler is Resampler.OPENCV and self.antialias:
                raise ValueError("OpenCV does not antialias; choose interpolation area, or resampler pillow or another")
        return self


def _resolved(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields given, those of the preset, and the antialiasing and resampler that follow from them."""
    preset = given.get("preset")
    values = {**PRESETS.get(PreprocessingPreset(preset), {}), **given} if preset in list(PRESETS) else dict(given)
    resampler = values.get("resampler", "pillow")
    if "antialias" not in given:
        values["antialias"] = resampler not in ("opencv", "tensorflow")
    elif "resampler" not in given and values.get("interpolation", "bilinear") in _ANTIALIASED:
        if given["antialias"] is False and resampler == "pillow":
            values["resampler"] = "opencv"
        elif given["antialias"] is True and resampler == "opencv":
            values["resampler"] = "pillow"
    return values
