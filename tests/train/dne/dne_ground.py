"""Small pictures with a mark on those of one value of an attribute, a disease beside it, and a small frozen backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from training import keys, write_rows, write_store

from cxrdata.stages import stage_key
from cxrtrain.bundle import Bundle, HeadTargets
from cxrtrain.config import InputConfig
from cxrtrain.dne.backbone import Backbone, Embeddings, Images
from cxrtrain.dne.config import ATTRIBUTE, DISEASE, DneExperiment
from cxrtrain.dne.data import PATIENTS, DneData
from cxrtrain.dne.experiments import experiment_of
from cxrtrain.dne.ground import Ground
from cxrtrain.inputs import Inputs
from cxrtrain.models.net import Net
from cxrtrain.pixels import PixelStore

SIDE = 16
WIDTH = 64
MARK = (slice(0, 4), slice(0, 4))
HEADS = (
    HeadTargets(DISEASE, "binary", "bce", ("cardiomegaly",), (f"target_{DISEASE}",)),
    HeadTargets(ATTRIBUTE, "classes", "ce", ("F", "M"), (f"target_{ATTRIBUTE}",)),
)
CPU = torch.device("cpu")


def experiment(**tables: object) -> DneExperiment:
    """Rates for small pictures; other tables or values as in a file."""
    content: dict[str, object] = {
        "name": "tiny",
        "disease": {"finding": "cardiomegaly"},
        "attribute": {"name": "sex", "classes": ["F", "M"]},
        "data": {"side": SIDE},
        "input": {"channels": 1, "normalise": "none"},
        "backbone": {"weights": "none", "name": "small"},
        "probe": {"lr": 0.02, "epochs": 60},
        "noise": {"lr": 0.02, "epochs": 15, "batch": 32, "penalty": [0.001], "limit": 0.3},
        "black": {"steps": 6, "judge_every": 3, "batch": 32, "scale": 0.05, "directions": 4},
        "finetune": {"base_lr": 0.4, "epochs": 30, "batch": 32},
        "judge": {"bootstrap": 50},
    }
    for name, values in tables.items():
        content[name] = {**content.get(name, {}), **values} if isinstance(values, dict) else values  # type: ignore[dict-item]
    return experiment_of(content, where="tiny.toml")


def drawn(n: int, *, correlation: float, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Pictures, disease, attribute. The corner is black, and of attribute 1 a little lighter; the disease is a faint bar among
    noise, so that the corner is the easier thing to learn where the two go together."""
    random = np.random.default_rng(seed)
    disease = np.arange(n) % 2
    attribute = np.where(random.random(n) < correlation, disease, 1 - disease)
    pixels = random.normal(110, 30, (n, SIDE, SIDE))
    pixels[disease == 1, 8:11, 4:14] += 22
    pixels[(slice(None), *MARK)] = 0
    pixels[(attribute == 1, *MARK)] = 40
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), disease, attribute


def write_ground(folder: Path, *, n: int = 240, n_valid: int = 60, n_test: int = 120, seed: int = 0) -> Path:
    """A store and a bundle with its patients: training and validation correlated, the test balanced."""
    parts = [("train", n, 0.9), ("valid", n_valid, 0.9), ("test", n_test, 0.5)]
    found = [drawn(many, correlation=how, seed=seed * 10 + at) for at, (_, many, how) in enumerate(parts)]
    pixels, disease, attribute = (np.concatenate([one[at] for one in found]) for at in range(3))
    names = [name for name, many, _ in parts for _ in range(many)]
    write_store(folder / "store", pixels, ids=keys(len(pixels)))
    write_rows(folder / "bundle", {f"target_{DISEASE}": disease, f"target_{ATTRIBUTE}": attribute}, names, heads=HEADS)
    np.save(folder / "bundle" / PATIENTS, np.arange(len(names)))
    return folder


class Tiny(nn.Module):
    """Means of 4 by 4 pixels, then random weights that stay. It cannot see anything finer, so no pattern of pixels deceives it:
    what hides the mark from it is the corner pressed to black."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AvgPool2d(4),
            nn.Conv2d(1, 6, 1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 16, WIDTH),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.layers(x)
        return made


def backbone() -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net(Tiny(), WIDTH, ())
    return Backbone(net, Inputs(InputConfig(channels=1)), CPU, stage_key(tiny=0))


def opened(folder: Path, wish: DneExperiment, *, parts: tuple[str, ...] = ("train", "valid", "test")) -> Ground:
    data = DneData.read(folder / "bundle", wish)
    store = PixelStore(folder / "store", data.bundle, side=SIDE)
    images = Images(store, data.bundle, np.concatenate([getattr(data, part) for part in parts]), CPU)
    eye = backbone()
    return Ground(wish, data, images, eye, eye, Embeddings(eye, images, folder / "embeddings"))


def rows_of(bundle: Bundle) -> NDArray[np.int64]:
    return np.arange(len(bundle), dtype=np.int64)
