"""Baseline of the nanochat task: a GPT trained with Muon and AdamW until the budget is spent.

Rotary positions, normalised queries and keys, norms without parameters, squared ReLU, value embeddings,
sliding windows, an untied and soft-capped head. In bfloat16 and compiled on a GPU, small and plain on a CPU.
"""

import torch
import torch.nn.functional as F
from torch import nn

# model
DEPTH = 8
WIDTH = 512
HEAD_WIDTH = 128
MLP_RATIO = 4
PATTERN = "SSSL"  # attention of the layers, repeated: S sees a window, L everything; the last layer is L
WINDOW = 512
VALUE_EVERY = 2  # every n-th layer, counted from the last, adds an embedding of the token to its values
VALUE_GATE = 32  # channels that decide how much of it
ROTARY_BASE = 10000.0
SOFT_CAP = 15.0

# optimisation
BATCH_TOKENS = 262144
MICRO_TOKENS = 65536  # of a batch in memory at a time
MATRIX_LR = 0.04  # Muon
EMBEDDING_LR = 0.6  # AdamW, for width 768
HEAD_LR = 0.004  # likewise
GATE_LR = 0.01
MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5
MATRIX_DECAY = 0.1
BETAS = (0.8, 0.95)
WARMUP = 0.0  # share of the budget in which the learning rate rises
WARMDOWN = 0.5  # share of the budget in which it falls
FINAL_LR = 0.05  # of what it was

# without a GPU, so many times smaller: an edit of a size above counts there, too
CPU_LESS_DEPTH = 2
CPU_LESS_WIDTH = 4
CPU_LESS_BATCH = 128


def norm(x):
    return F.rms_norm(x, (x.shape[-1],))


class Linear(nn.Linear):
    """Without bias; weights are kept in float32 and used in the type of what comes in."""

    def __init__(self, size_in, size_out, std):
        super().__init__(size_in, size_out, bias=False)
        nn.init.normal_(self.weight, std=std) if std else nn.init.zeros_(self.weight)

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


def band(queries, keys, window, device):
    """bool[queries, keys]: the last query stands at the last key and sees `window` keys, itself included."""
    at = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)
    return (key <= at) & (key > at - window)


def attend(q, k, v, window):
    """Causal attention, [B, H, T, D], to the last `window` positions; to all when it is 0."""
    length = q.shape[2]
    if not window or length <= window:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if length % window:
        mask = band(length, length, window, q.device)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # In blocks of one window each sees but itself and the one before it.
    q, k, v = (x.unflatten(2, (-1, window)) for x in (q, k, v))
    first = F.scaled_dot_product_attention(q[:, :, 0], k[:, :, 0], v[:, :, 0], is_causal=True)
    k, v = (torch.cat([x[:, :, :-1], x[:, :, 1:]], dim=3).flatten(1, 2) for x in (k, v))
    mask = band(window, 2 * window, window, q.device)
    rest = F.scaled_dot_product_attention(q[:, :, 1:].flatten(1, 2), k, v, attn_mask=mask)
    rest = rest.unflatten(1, (q.shape[1], -1)).flatten(2, 3)
    return torch.cat([first, rest], dim=2)


class Attention(nn.Module):
    def __init__(self, vocab_size, width, head_width, window, has_value_embedding):
        super().__init__()
        self.head_width, self.window = head_width, window
        std = width**-0.5
        self.query, self.key, self.value = (Linear(width, width, std) for _ in range(3))
        self.out = Linear(width, width, 0)
        self.value_embedding = nn.Embedding(vocab_size, width) if has_value_embedding else None
        self.gate = Linear(min(VALUE_GATE, width), width // head_width, 0) if has_value_embedding else None

    def forward(self, x, idx, cos, sin):
        q, k, v = (f(x).unflatten(-1, (-1, self.head_width)) for f in (self.query, self.key, self.value))
        if self.value_embedding is not None:
            extra = self.value_embedding(idx).to(v.dtype).view_as(v)
            v = v + 2 * torch.sigmoid(self.gate(x[..., :VALUE_GATE]))[..., None] * extra
        q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))
        y = attend(*(part.transpose(1, 2) for part in (q, k, v)), self.window)
        return self.out(y.transpose(1, 2).flatten(2))


def rotate(x, cos, sin):
    """Rotary positions: [B, T, H, D] with cos and sin [T, 1, D / 2]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1)


class Block(nn.Module):
    def __init__(self, vocab_size, width, head_width, window, has_value_embedding):
        super().__init__()
        self.attention = Attention(vocab_size, width, head_width, window, has_value_embedding)
        self.up = Linear(width, MLP_RATIO * width, width**-0.5)
        self.down = Linear(MLP_RATIO * width, width, 0)

    def forward(self, x, idx, cos, sin):
        x = x + self.attention(norm(x), idx, cos, sin)
        return x + self.down(F.relu(self.up(norm(x))).square())


class GPT(nn.Module):
    """Decoder-only language model: idx[B, T] -> logits[B, T, V]."""

    def __init__(self, vocab_size, max_len, depth, width, head_width):
        super().__init__()
        self.token = nn.Embedding(vocab_size, width)
        windows = [WINDOW if PATTERN[i % len(PATTERN)] == "S" else 0 for i in range(depth - 1)] + [0]
        has_value = [VALUE_EVERY > 0 and (depth - 1 - i) % max(1, VALUE_EVERY) == 0 for i in range(depth)]
        self.blocks = nn.ModuleList(
            Block(vocab_size, width, head_width, *pair) for pair in zip(windows, has_value, strict=True)
        )
        self.head = Linear(width, vocab_size, 0.001)
        frequencies = ROTARY_BASE ** (-torch.arange(0, head_width, 2) / head_width)
        angles = torch.outer(torch.arange(max_len), frequencies)[:, None]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, idx):
        dtype = torch.bfloat16 if idx.is_cuda else torch.float32
        x = norm(self.token(idx).to(dtype))
        cos, sin = (table[: idx.shape[1]].to(dtype) for table in (self.cos, self.sin))
        for block in self.blocks:
            x = block(x, idx, cos, sin)
        logits = self.head(norm(x)).float()
        return SOFT_CAP * torch.tanh(logits / SOFT_CAP)


def orthogonal(matrices):
    """The nearest matrices with all singular values near one (Newton-Schulz), [N, R, C]."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024). A group is matrices of one shape."""

    def __init__(self, parameters):
        shapes = {}
        for parameter in parameters:
            shapes.setdefault(parameter.shape, []).append(parameter)
        super().__init__([{"params": group} for group in shapes.values()], {"lr": MATRIX_LR})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            parameters, lr = group["params"], group["lr"]
            gradient = torch.stack([parameter.grad for parameter in parameters])
            state = self.state[parameters[0]]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            update = orthogonal(gradient.lerp(state["momentum"], MOMENTUM)).to(gradient.dtype)
            scale = max(1.0, gradient.shape[1] / gradient.shape[2]) ** 0.5
            torch._foreach_mul_(parameters, 1 - lr * MATRIX_DECAY)
            torch._foreach_add_(parameters, list(update.unbind()), alpha=-lr * scale)


def optimizers(model, width, fused):
    """Muon for the matrices of the blocks, AdamW for embeddings, head and gates."""
    named = list(model.blocks.named_parameters())
    embeddings = [p for name, p in named if "value_embedding" in name] + [model.token.weight]
    gates = [p for name, p in named if "gate" in name]
    matrices = [p for name, p in named if "gate" not in name and "value_embedding" not in name]
    scale = (width / 768) ** -0.5
    groups = [
        {"params": embeddings, "lr": EMBEDDING_LR * scale},
        {"params": [model.head.weight], "lr": HEAD_LR * scale},
        {"params": gates, "lr": GATE_LR},
    ]
    groups = [group for group in groups if group["params"]]
    both = [Muon(matrices), torch.optim.AdamW(groups, betas=BETAS, eps=1e-10, weight_decay=0.0, fused=fused)]
    for group in (group for optimizer in both for group in optimizer.param_groups):
        group["peak"] = group["lr"]
    return both


def schedule(progress):
    """Factor of the learning rates: linear warm-up, constant, linear warm-down."""
    if progress < WARMUP:
        return (progress + 0.01) / (WARMUP + 0.01)
    return min(1.0, FINAL_LR + (1 - FINAL_LR) * (1 - progress) / max(WARMDOWN, 1e-9))


def train(env):
    gpu = env.device.type == "cuda"
    less_depth, less_width, less_batch = (
        (1, 1, 1) if gpu else (CPU_LESS_DEPTH, CPU_LESS_WIDTH, CPU_LESS_BATCH)
    )
    depth, width, head_width = DEPTH // less_depth, WIDTH // less_width, HEAD_WIDTH // less_width
    batch = max(1, BATCH_TOKENS // less_batch // env.seq_len)
    micro = min(batch, max(1, MICRO_TOKENS // env.seq_len))
    torch.set_float32_matmul_precision("high")
    model = GPT(env.vocab_size, env.seq_len, depth, width, head_width).to(env.device)
    both = optimizers(model, width, fused=gpu)

    def loss_of(x, y):
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    if gpu:  # compiled before the clock starts, on random tokens
        loss_of = torch.compile(loss_of, dynamic=False)
        loss_of(*env.warmup_batch(micro)).backward()
        model.zero_grad(set_to_none=True)
    env.watch(model)
    for x, y in env.batches(batch):
        parts = list(zip(x.split(micro), y.split(micro), strict=True))
        total = torch.zeros((), device=env.device)
        for part in parts:
            loss = loss_of(*part) * (len(part[0]) / batch)
            loss.backward()
            total += loss.detach()
        factor = schedule(env.progress)
        for optimizer in both:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        env.report(loss=total.item(), lr=factor)
    return model
