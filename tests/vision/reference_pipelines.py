"""Published preprocessing pipelines, written from their sources, each on the library it uses.

torchvision: `_compute_resized_output_size` and `center_crop` of `torchvision/transforms/functional.py`; timm:
`transforms_imagenet_eval` and `ResizeKeepRatio` of `timm/data`; TF-Slim: `inception_preprocessing.py`; EfficientNet:
`preprocessing.py` of `tensorflow/tpu`; PaddleClas: `ppcls/data/preprocess/ops/operators.py`; Ultralytics: `LetterBox`
of `ultralytics/data/augment.py`.
"""

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

Floats = NDArray[np.floating[Any]]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def normalized(pixels: NDArray[Any], mean: Any = MEAN, std: Any = STD) -> Floats:
    return np.asarray((pixels.astype(np.float64) / 255 - mean) / std, np.float64)


def shorter_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Torchvision's `Resize(int)`: width and height."""
    width, height = size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = side, int(side * long / short)
    return (new_short, new_long) if width <= height else (new_long, new_short)


def centre_crop_corner(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """Torchvision's `CenterCrop`: top and left; ``size`` is height and width."""
    return round((height - size[0]) / 2.0), round((width - size[1]) / 2.0)


def centre_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    top, left = centre_crop_corner(*image.size, size)
    return image.crop((left, top, left + size[1], top + size[0]))


def torchvision(image: Image.Image, resize: int, crop: int) -> Floats:
    resized = image.resize(shorter_side(image.size, resize), Image.Resampling.BILINEAR)
    return normalized(np.asarray(centre_crop(resized, (crop, crop))))


def torchvision_on_tensors(image: Image.Image, resize: int, crop: int) -> Floats:
    """As torchvision resizes uint8 tensors: by float32, rounded."""
    width, height = shorter_side(image.size, resize)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    resized = interpolate(pixels, (height, width), mode="bilinear", align_corners=False, antialias=True)
    top, left = centre_crop_corner(width, height, (crop, crop))
    return normalized(resized[0].round().permute(1, 2, 0).numpy()[top : top + crop, left : left + crop])


def timm(image: Image.Image, size: tuple[int, int], crop_pct: float) -> Floats:
    scale_size = tuple(math.floor(side / crop_pct) for side in size)
    if scale_size[0] == scale_size[1]:
        new = shorter_side(image.size, scale_size[0])
    else:
        ratio = min(image.height / scale_size[0], image.width / scale_size[1])
        new = (round(image.width / ratio), round(image.height / ratio))
    return normalized(np.asarray(centre_crop(image.resize(new, Image.Resampling.BICUBIC), size)))


def half_pixel(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """`tf.image.resize`, bilinear: ResizeBilinear with half_pixel_centers, in single precision."""
    for axis, side in enumerate(size):
        scale = np.float32(pixels.shape[axis] / side)
        places = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        lower = np.maximum(np.floor(places), 0).astype(int)
        upper = np.minimum(np.ceil(places), pixels.shape[axis] - 1).astype(int)
        lerp = np.expand_dims(places - np.floor(places), [other for other in range(3) if other != axis])
        first, second = (np.take(pixels, index, axis).astype(np.float32) for index in (lower, upper))
        pixels = first + (second - first) * lerp
    return np.asarray(pixels, np.float32)


def central_crop(pixels: NDArray[Any], fraction: float) -> NDArray[Any]:
    """`tf.image.central_crop`."""
    top, left = (int((float(side) - float(side) * fraction) / 2) for side in pixels.shape[:2])
    return pixels[top : pixels.shape[0] - top, left : pixels.shape[1] - left]


def slim_inception(image: Image.Image, size: tuple[int, int]) -> Floats:
    pixels = half_pixel(central_crop(np.asarray(image), 0.875), size)
    return (pixels / np.float32(255) - np.float32(0.5)) * np.float32(2)


def efficientnet_crop(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """`_decode_and_center_crop` of EfficientNet, before its resizing."""
    crop = int(np.float32(size / (size + 32)) * np.float32(min(image.size)))
    top, left = (image.height - crop + 1) // 2, (image.width - crop + 1) // 2
    return np.asarray(image)[top : top + crop, left : left + crop]


def paddle(image: Image.Image, resize_short: int, crop: int) -> Floats:
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    percent = float(resize_short) / min(width, height)
    resized = cv2.resize(pixels, (round(width * percent), round(height * percent)))
    top, left = (resized.shape[0] - crop) // 2, (resized.shape[1] - crop) // 2
    return normalized(resized[top : top + crop, left : left + crop])


def letterbox(image: Image.Image, size: tuple[int, int]) -> Floats:
    """Ultralytics with `auto=False`; ``size`` is height and width."""
    pixels = np.asarray(image)
    shape = pixels.shape[:2]
    ratio = min(size[0] / shape[0], size[1] / shape[1])
    unpadded = round(shape[1] * ratio), round(shape[0] * ratio)
    across, down = (size[1] - unpadded[0]) / 2, (size[0] - unpadded[1]) / 2
    if shape[::-1] != unpadded:
        pixels = cv2.resize(pixels, unpadded, interpolation=cv2.INTER_LINEAR)
    top, bottom = round(down - 0.1), round(down + 0.1)
    left, right = round(across - 0.1), round(across + 0.1)
    return cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)) / 255
