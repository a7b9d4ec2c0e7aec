"""pythae's side of bench_pythae.py, in an environment of its own: JSON lines in, JSON lines out.

Needs pythae, torch and numpy, not jaxae: `bench_pythae.py --peer-python PATH` starts it. The first line says
what to build; then `{"do": "epoch"}`, `{"do": "steps", "steps": N}` or `{"do": "evaluate", "samples": K}`.
"""

import itertools
import json
import logging
import math
import os
import sys
import tempfile
import time

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, VQVAE, BetaTCVAE, BetaTCVAEConfig, IWAEConfig, VAEConfig, VQVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

SHAPE = (1, 28, 28)


class Encoder(BaseEncoder):
    """Layers whose output is split into mean and log-variance, or is a map of vectors to be quantized."""

    def __init__(self, layers, latents=None):
        super().__init__()
        self.layers, self.latents = layers, latents

    def forward(self, x):
        """As pythae asks for it."""
        h = self.layers(x)
        if self.latents is None:
            return ModelOutput(embedding=h)
        return ModelOutput(embedding=h[:, : self.latents], log_covariance=h[:, self.latents :])


class Decoder(BaseDecoder):
    """Layers that give the reconstruction."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, z):
        """As pythae asks for it."""
        return ModelOutput(reconstruction=self.layers(z))


def mlp(sizes):
    """Products with ReLUs between them."""
    return [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())][:-1]


def networks(ask):
    """Encoder and decoder of a request; a quantizer's decoder gives pixels, the others' probabilities."""
    width, latents, tokens, code = ask["width"], ask["latents"], ask["tokens"], ask["code_size"]
    quantized = ask["member"] == "vq_vae"
    last = [] if quantized else [nn.Sigmoid()]
    if ask["network"] == "mlp":
        size = tokens * code if quantized else 2 * latents
        cut = [nn.Unflatten(1, (code, tokens, 1))] if quantized else []
        encoder = [nn.Flatten(), *mlp((784, width, width, size)), *cut]
        decoder = [nn.Flatten(), *mlp((size if quantized else latents, width, width, 784)), nn.Unflatten(1, SHAPE)]
    else:
        convolutions = [nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()]
        head = [nn.Conv2d(64, code, 1)] if quantized else [nn.Flatten(), nn.Linear(3136, 2 * latents)]
        foot = [nn.Conv2d(code, 64, 1)] if quantized else [nn.Linear(latents, 3136), nn.Unflatten(1, (64, 7, 7))]
        back = [nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1)]
        encoder, decoder = [*convolutions, *head], [*foot, *back]
    return Encoder(nn.Sequential(*encoder), None if quantized else latents), Decoder(nn.Sequential(*decoder, *last))


def model_of(ask):
    """The pythae model of a request."""
    encoder, decoder = networks(ask)
    common = {"input_dim": SHAPE, "latent_dim": ask["latents"]}
    bce = {**common, "reconstruction_loss": "bce"}
    if ask["member"] == "vae":
        return VAE(VAEConfig(**bce), encoder, decoder)
    if ask["member"] == "iwae":
        return IWAE(IWAEConfig(number_samples=ask["samples"], **bce), encoder, decoder)
    if ask["member"] == "beta_tc_vae":
        return BetaTCVAE(BetaTCVAEConfig(beta=ask["beta"], **bce), encoder, decoder)
    return VQVAE(VQVAEConfig(num_embeddings=ask["codes"], use_ema=True, decay=0.99, **common), encoder, decoder)


def trainer_of(ask, x, folder):
    """pythae's trainer, ready for its epochs, without a progress bar."""
    config = BaseTrainerConfig(
        output_dir=folder,
        num_epochs=10**6,
        learning_rate=ask["rate"],
        per_device_train_batch_size=ask["batch_size"],
        optimizer_cls="Adam",
        seed=ask["seed"],
        no_cuda=True,
    )
    torch.manual_seed(ask["seed"])
    trainer = BaseTrainer(model_of(ask), BaseDataset(x, torch.zeros(len(x))), training_config=config)
    trainer.prepare_training()
    trainer.callback_handler.callbacks = trainer.callback_handler.callbacks[:1]
    return trainer


@torch.no_grad()
def bound(model, x, samples):
    """The mean importance-weighted bound, nats."""
    model.eval()
    total = 0.0
    for rows in x.split(100):
        code = model.encoder(rows)
        mean, log_variance = code.embedding, code.log_covariance
        noise = torch.randn(samples, *mean.shape)
        z = mean + noise * torch.exp(0.5 * log_variance)
        seen = model.decoder(z.reshape(-1, z.shape[-1])).reconstruction.reshape(samples, len(rows), -1).clamp(1e-7, 1)
        pixels = rows.reshape(1, len(rows), -1)
        log_x = (pixels * seen.log() + (1 - pixels) * torch.log((1 - seen).clamp_min(1e-7))).sum(-1)
        log_ratio = 0.5 * (noise**2 + log_variance - z**2).sum(-1)
        total += (torch.logsumexp(log_x + log_ratio, 0) - math.log(samples)).sum().item()
    return total / len(x)


@torch.no_grad()
def squared_error(model, x):
    """Per pixel, of reconstructions."""
    model.eval()
    return sum(((model({"data": rows}).recon_x - rows) ** 2).sum().item() for rows in x.split(500)) / x.numel()


def lone_steps(trainer, x, ask):
    """Steps on batches that are cut already: the model's share of an epoch."""
    trainer.model.train()
    for rows in x[: ask["steps"] * ask["batch_size"]].split(ask["batch_size"]):
        trainer._optimizers_step(trainer.model({"data": rows}, epoch=1, dataset_size=len(x)))


def timed(function):
    """What a call gives, its wall and its processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}


def build(ask, folder):
    """The data and a trainer."""
    with np.load(ask["rows"], allow_pickle=False) as file:
        parts = {k: torch.from_numpy(file[k]).reshape(-1, *SHAPE).float() / 255 for k in ("train", "test")}
    return parts, trainer_of(ask, parts["train"], folder)


def answer(request, ask, parts, trainer):
    """To any request but the first."""
    if request["do"] == "epoch":
        return timed(lambda: trainer.train_step(1))[1]
    if request["do"] == "steps":
        return timed(lambda: lone_steps(trainer, parts["train"], {**ask, **request}))[1]
    if ask["member"] == "vq_vae":
        return {"error": squared_error(trainer.model, parts["test"])}
    return {"bound": bound(trainer.model, parts["test"], request["samples"])}


def main():
    """Answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    logging.disable(logging.INFO)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        ask = json.loads(sys.stdin.readline())
        (parts, trainer), found = timed(lambda: build(ask, folder))
        found |= {"parameters": sum(p.numel() for p in trainer.model.parameters()), "torch": torch.__version__}
        print(json.dumps(found), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), ask, parts, trainer)), file=answers, flush=True)


if __name__ == "__main__":
    main()
