"""Attention and RotaryEmbedding, both since opset 23."""

import math

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import torch_dtype


def attention(
    node: Node,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    valid: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """softmax(Q · Kᵀ · scale + bias) · V, in heads (Vaswani et al. 2017), with groups of queries per key head.

    Args:
        node: The node.
        query: [N, heads, L, E], or [N, L, heads · E] with the number of heads in an attribute.
        key: As the query, with S steps.
        value: As the key.
        mask: Added to the scores, or True where attention is allowed.
        past_key: Keys of earlier steps [N, heads, P, E].
        past_value: Values of earlier steps.
        valid: Number of keys of each sample that are not padding [N].

    Returns:
        The result, all keys, all values, and the scores at the stage ``qk_matmul_output_mode``.
    """
    flat = query.ndim == 3
    q = _in_heads(query, node.integer("q_num_heads"))
    k = _in_heads(key, node.integer("kv_num_heads"))
    v = _in_heads(value, node.integer("kv_num_heads"))
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = torch.cat([past_key, k], dim=2), torch.cat([past_value, v], dim=2)
    groups = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)

    root = math.sqrt(node.number("scale", 1 / math.sqrt(q.shape[-1])))
    scores = torch.matmul(q * root, keys.transpose(2, 3) * root)
    stages = [scores]
    softcap = node.number("softcap")
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    stages.append(scores)
    scores = scores + _bias(node, scores, mask, past, valid)
    stages.append(scores)
    wide = scores.to(torch_dtype(node.integer("softmax_precision"))) if node.integer("softmax_precision") else scores
    empty = torch.isneginf(wide).all(dim=-1, keepdim=True)
    weights = torch.softmax(wide, dim=-1).masked_fill(empty, 0.0).to(q.dtype)
    stages.append(weights)
    y = torch.matmul(weights, values)
    if flat:
        y = y.transpose(1, 2).flatten(2)
    return y, k, v, stages[node.integer("qk_matmul_output_mode")]


def _in_heads(x: Tensor, heads: int) -> Tensor:
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _bias(node: Node, scores: Tensor, mask: Tensor | None, past: int, valid: Tensor | None) -> Tensor:
    """Return the bias of the scores [N, heads, L, S], −∞ where attention is masked."""
    queries, keys = scores.shape[2:]
    bias = torch.zeros(1, 1, 1, keys, dtype=scores.dtype, device=scores.device)
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, float("-inf"))
        if mask.shape[-1] < keys:
            mask = torch.nn.functional.pad(mask, (0, keys - mask.shape[-1]), value=float("-inf"))
        bias = bias + mask
    positions_k = torch.arange(keys, device=scores.device)
    if valid is not None:
        counts = valid.reshape(-1, 1, 1, 1)
        bias = bias.masked_fill(positions_k >= counts, float("-inf"))
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    if node.integer("is_causal"):
        right = 0
    offset = valid.reshape(-1, 1, 1, 1) - queries if valid is not None and not past else past
    positions_q = torch.arange(queries, device=scores.device)[:, None] + offset
    if right >= 0:
        bias = bias.masked_fill(positions_k > positions_q + right, float("-inf"))
    if left >= 0:
        bias = bias.masked_fill(positions_k < positions_q - left, float("-inf"))
    return bias


def rotary_embedding(node: Node, x: Tensor, cosines: Tensor, sines: Tensor, positions: Tensor | None = None) -> Tensor:
    """Rotate pairs of features by angles that grow with the position (Su et al. 2021, "RoFormer")."""
    heads = _in_heads(x, node.integer("num_heads")) if x.ndim == 3 else x
    if positions is not None:
        cosines, sines = cosines[positions.to(torch.int64)], sines[positions.to(torch.int64)]
    cosines, sines = cosines.unsqueeze(1), sines.unsqueeze(1)
    width = node.integer("rotary_embedding_dim") or heads.shape[-1]
    rotated, rest = heads[..., :width], heads[..., width:]
    interleaved = bool(node.integer("interleaved"))
    a, b = (rotated[..., 0::2], rotated[..., 1::2]) if interleaved else rotated.chunk(2, dim=-1)
    real, imaginary = cosines * a - sines * b, sines * a + cosines * b
    pairs = torch.stack([real, imaginary], dim=-1).flatten(-2) if interleaved else torch.cat([real, imaginary], dim=-1)
    y = torch.cat([pairs, rest], dim=-1)
    return y.transpose(1, 2).flatten(2) if x.ndim == 3 else y


OPERATORS = {
    "Attention": TorchOperator(attention),
    "RotaryEmbedding": TorchOperator(rotary_embedding),
}
