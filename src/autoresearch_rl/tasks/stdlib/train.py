"""Baseline of the stdlib task: a small GPT on bytes, trained with AdamW until the budget is spent."""

import math

import torch
import torch.nn.functional as F
from torch import nn

# model
WIDTH = 128
DEPTH = 4
HEADS = 4
MLP_RATIO = 4
DROPOUT = 0.0
TIE_WEIGHTS = False

# optimisation
BATCH_SIZE = 16
SEQ_LEN = 128
LEARNING_RATE = 1e-3
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
GRAD_CLIP = 1.0
WARMUP = 0.1  # share of the budget in which the learning rate rises
COOLDOWN = 0.5  # share of the budget in which it falls to zero
INIT_STD = 0.02


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, MLP_RATIO * WIDTH, bias=False)
        self.down = nn.Linear(MLP_RATIO * WIDTH, WIDTH, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def attention(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, WIDTH))

    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class GPT(nn.Module):
    """Decoder-only language model: idx[B, T] -> logits[B, T, V]."""

    def __init__(self, vocab_size, max_len):
        super().__init__()
        self.token = nn.Embedding(vocab_size, WIDTH)
        self.position = nn.Embedding(max_len, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=INIT_STD)
        if TIE_WEIGHTS:
            self.head.weight = self.token.weight

    def forward(self, idx):
        positions = torch.arange(idx.shape[1], device=idx.device)
        x = self.token(idx) + self.position(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def schedule(progress):
    """Factor of the learning rate: linear warm-up, constant, cosine cool-down to zero."""
    if progress < WARMUP:
        return (progress + 0.01) / (WARMUP + 0.01)
    if progress < 1 - COOLDOWN:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - 1 + COOLDOWN) / COOLDOWN))


def train(env):
    model = GPT(env.vocab_size, max(SEQ_LEN, env.seq_len)).to(env.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    env.watch(model)
    for x, y in env.batches(BATCH_SIZE, SEQ_LEN):
        lr = LEARNING_RATE * schedule(env.progress)
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if GRAD_CLIP > 0:
            nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        env.report(loss=loss.item(), lr=lr)
    return model
