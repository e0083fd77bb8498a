"""A small convolutional variational autoencoder, as one writes it in PyTorch (Kingma & Welling 2014)."""

import torch
from torch import nn
from torch.nn import functional as F


def conv_block(in_channels, out_channels):
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1), nn.GroupNorm(4, out_channels), nn.LeakyReLU(0.2))


class Encoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.layers = nn.ModuleList([conv_block(1, 8), conv_block(8, 16)])
        self.to_stats = nn.Linear(16 * 7 * 7, 2 * latent_dim)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        x = x.view(x.size(0), -1)
        mu, logvar = self.to_stats(x).chunk(2, dim=1)
        return mu, logvar.clamp(-10.0, 10.0)


class Decoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.from_latent = nn.Linear(latent_dim, 16 * 7 * 7)
        self.up = nn.ConvTranspose2d(16, 8, kernel_size=4, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.refine = nn.Conv2d(8, 8, kernel_size=3, padding="same", padding_mode="reflect")
        self.out = nn.Conv2d(8, 1, kernel_size=3, padding=1)

    def forward(self, z):
        h = F.silu(self.from_latent(z)).view(-1, 16, 7, 7)
        h = F.silu(self.norm(self.up(h)))
        h = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
        h = F.softplus(self.refine(h))
        return self.out(h)


class VAE(nn.Module):
    def __init__(self, latent_dim=8):
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder(latent_dim)

    def reparameterize(self, mu, logvar, eps):
        std = torch.exp(0.5 * logvar)
        return mu + eps * std

    def forward(self, x, eps):
        mu, logvar = self.encoder(x)
        z = self.reparameterize(mu, logvar, eps)
        return self.decoder(z), mu, logvar


def build():
    return VAE()


def elbo(recon, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon, x, reduction="sum") / x.shape[0]
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1).mean()
    return bce + kld, kld


def train(model, batches):
    """One step a batch; the losses, and their Kullback-Leibler parts."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses, divergences = [], []
    for images, _, noise in batches:
        recon, mu, logvar = model(images, noise)
        loss, kld = elbo(recon, images, mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().item())
        divergences.append(kld.item())
    return losses, divergences


def evaluate(model, batches):
    """What the trained network makes of the first batch."""
    images, _, noise = batches[0]
    with torch.no_grad():
        recon, _, _ = model(images, torch.zeros_like(noise))
    return torch.sigmoid(recon)
