"""Small torch modules of the kinds that people export."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class Encoder(nn.Module):
    """A sentence encoder as MiniLM: token, position and type embeddings, attention layers, mean over the tokens."""

    def __init__(self, vocabulary: int = 60, width: int = 16, layers: int = 2, positions: int = 128) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "norm": nn.LayerNorm(width),
                    "wide": nn.Linear(width, 4 * width),
                    "narrow": nn.Linear(4 * width, width),
                    "last": nn.LayerNorm(width),
                }
            )
            for _ in range(layers)
        )

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        n, length = input_ids.shape
        places = torch.arange(length, device=input_ids.device)[None]
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        kinds = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        x = self.norm(self.words(input_ids) + self.positions(places) + self.types(kinds))
        bias = (1.0 - mask[:, None, None, :].float()) * -1e9
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            query, key, value = (part.view(n, length, 2, -1).transpose(1, 2) for part in layer["qkv"](x).chunk(3, -1))
            weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias, -1)
            x = layer["norm"](x + layer["out"]((weights @ value).transpose(1, 2).reshape(n, length, -1)))
            x = layer["last"](x + layer["narrow"](F.gelu(layer["wide"](x))))
        kept = mask[..., None].float()
        mean: torch.Tensor = (x * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return mean


class Recurrent(nn.Module):
    """A bidirectional LSTM over a signal, and a label for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, signal: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        steps, state = self.lstm(signal)
        return self.head(steps), state


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())


class Detector(nn.Module):
    """A YOLO-like detector: two strides joined by upsampling, boxes in pixels and scores of every cell."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 8, 2), _block(8, 8, 2), _block(8, 16, 2))
        self.down = _block(16, 16, 2)
        self.up = nn.Upsample(scale_factor=2)
        self.fine, self.coarse = nn.Conv2d(32, 9, 1), nn.Conv2d(16, 9, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.stem(images)
        second = self.down(first)
        heads = ((self.fine(torch.cat([self.up(second), first], 1)), 8), (self.coarse(second), 16))
        return torch.cat([self._decoded(head, stride) for head, stride in heads], 2)

    @staticmethod
    def _decoded(head: torch.Tensor, stride: int) -> torch.Tensor:
        n, channels, h, w = head.shape
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centres = torch.stack([columns, rows]).reshape(1, 2, -1) + 0.5
        flat = head.view(n, channels, -1)
        return torch.cat(
            [(flat[:, :2].sigmoid() + centres) * stride, flat[:, 2:4].exp() * stride, flat[:, 4:].sigmoid()], 1
        )


class Generator(nn.Module):
    """A small CycleGAN generator."""

    def __init__(self, channels: int = 8, blocks: int = 1) -> None:
        super().__init__()
        wide = 2 * channels
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, channels, 7), nn.InstanceNorm2d(channels)]
        layers += [nn.ReLU(), nn.Conv2d(channels, wide, 3, 2, 1), nn.InstanceNorm2d(wide), nn.ReLU()]
        for _ in range(blocks):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(wide, wide, 3), nn.InstanceNorm2d(wide)]
        layers += [nn.ConvTranspose2d(wide, channels, 3, 2, 1, 1), nn.InstanceNorm2d(channels), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(channels, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(x)
        return result


class TwoImages(nn.Module):
    """The weighted sum of two images, as a dictionary."""

    def forward(self, first: torch.Tensor, second: torch.Tensor, weight: float = 0.25) -> dict[str, torch.Tensor]:
        return {"mixed": weight * first + (1 - weight) * second, "difference": first - second}


class Checked(nn.Module):
    """Looks at its values on the way, which torch.export does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(self.conv(x))
        if not torch.isfinite(result).all():
            raise ValueError("The result is not finite.")
        return result


class FlatClassifier(nn.Module):
    """A classifier for images of 32 x 32 only."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(image.flatten(1))
        return result


class CountedInPython(nn.Module):
    """Runs at any length, but with a number that Python computes from it, which no exporter keeps open."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[0])
        for step in x.unbind(1):
            total = torch.tanh(total + step.sum(-1))
        return total
