"""What an experiment is: typed, frozen, and the whole of it. `config_file` reads and writes it as TOML.

Defaults are the plainest choice, not the best; an experiment file says what differs from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD_KINDS = ("binary", "multilabel", "classes", "regression")
LOSSES = ("bce", "ce", "mse", "l1")
AGAINST = ("healthy", "all")
SAMPLING = ("shuffle", "class_balanced", "group_balanced")
OBJECTIVES = ("erm", "reweight", "group_dro")
OPTIMISERS = ("adam", "adamw", "sgd")
SCHEDULES = ("none", "plateau", "cosine")
SCALES = ("0-1", "0-255")
NORMALISE = ("none", "imagenet", "training")
PRECISIONS = ("auto", "bf16", "fp32")
SWITCH = ("auto", "on", "off")
TURNS = ("together", "in_turn")
POLICIES = ("raw", "zeros", "ones", "ignore")
FITS = ("squash", "pad", "crop")


@dataclass(frozen=True)
class HeadConfig:
    """One thing that is learned.

    kind: `binary` a finding against `against` (strictly healthy images, or all that were assessed without it);
    `multilabel` findings, each for itself; `classes` the values of an attribute (a column of `images`, `age_group:SCHEME`,
    `disease`); `regression` a number such as age_years.
    loss: null takes the kind's own: bce, bce, ce, mse. `ce` on `binary` is two outputs and a softmax, as the published
    case study has it. policy: what uncertain and unmentioned become; a label may have its own. labeler: whose labels; null is
    the one that each dataset prefers. unassessed_zero: of `multilabel`, what nobody assessed is a 0 too; only to repeat published
    work whose code takes every blank for a negative.
    """

    name: str
    kind: str
    finding: str | None = None
    against: str = "healthy"
    labels: tuple[str, ...] = ()
    attribute: str | None = None
    classes: tuple[str, ...] = ()
    policy: str = "ignore"
    policy_by_label: dict[str, str] = field(default_factory=dict)
    labeler: str | None = None
    unassessed_zero: bool = False
    loss: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class DataConfig:
    """Which images, and in which order they come.

    split: the split's name in the catalog; made_by: the command that makes it, for who lacks it. parts: what the split
    calls training, validation and test. groups: attributes whose combinations are the groups of balanced sampling,
    reweighting and GroupDRO; they are stored in the bundle. Images whose target is unknown (of every head) are left out.
    side, fit: the image store that it was published with, as `cxrdata images build --size --fit` makes it.
    """

    split: str | None = None
    made_by: str | None = None
    datasets: tuple[str, ...] = ()
    train: str = "train"
    valid: str = "valid"
    groups: tuple[str, ...] = ()
    sampling: str = "shuffle"
    side: int = 224
    fit: str = "squash"
    images_per_epoch: int | None = None


@dataclass(frozen=True)
class InputConfig:
    """Pixels as the model gets them: `channels` equal copies of the grey image, values 0 to 1 or 0 to 255, then normalised by
    the mean and SD of ImageNet's channels or of the training images. crop: the middle so many pixels, after `data.side`."""

    channels: int = 3
    scale: str = "0-1"
    normalise: str = "none"
    crop: int | None = None


@dataclass(frozen=True)
class AugmentConfig:
    """Changes to training images, drawn for each image on its own; each `_p` is a probability.

    rotate_degrees: the angle is uniform in ±; translate: uniform in ± of the side; zoom: factors from, to, uniform (above 1
    enlarges); shear_degrees ±. crop: the share of the area from, to that a resized crop keeps. zoom_out: the side of the
    canvas, as factors from, to, the picture in a place drawn at random, black around. sharpness: factors from, to (1 changes
    nothing). blur_sigma: pixels, from, to. histogram_blend: share of histogram matching (Pizer et al. 1987: the values'
    ranks take the reference's values) with the mean histogram of histogram_images reference images. mixup_alpha: of
    Beta(α, α) (Zhang et al. 2018); 0 mixes nothing.
    """

    flip_p: float = 0.0
    affine_p: float = 0.0
    rotate_degrees: float = 0.0
    translate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shear_degrees: float = 0.0
    crop_p: float = 0.0
    crop: tuple[float, float] = (1.0, 1.0)
    zoom_out_p: float = 0.0
    zoom_out: tuple[float, float] = (1.0, 1.0)
    equalise_p: float = 0.0
    sharpness_p: float = 0.0
    sharpness: tuple[float, float] = (1.0, 1.0)
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.0, 0.0)
    histogram_p: float = 0.0
    histogram_blend: float = 0.0
    histogram_images: int = 64
    mixup_alpha: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """backbone: `small` (ours), any of timm by its name, any of torchvision as `torchvision:NAME`. weights: `none`,
    `imagenet`, a file of weights, or `run:FOLDER`, a run's own. freeze: `none`, `backbone` (all but the heads), or
    `first:N` blocks. pooling: null takes the backbone's own; `avg` is global pooling (ViT: over the patch tokens)."""

    backbone: str = "small"
    weights: str = "none"
    freeze: str = "none"
    pooling: str | None = None
    dropout: float = 0.0


@dataclass(frozen=True)
class OptimConfig:
    """turns: `together` is one optimiser over the sum of the heads' losses; `in_turn` one optimiser a head, over the
    backbone and that head, stepping one after the other on the same batch (Glocker et al. 2023). plateau: the rate is
    multiplied by `factor` after `patience` epochs without improvement. clip: largest norm of the gradient. accumulate:
    batches a step. ema: decay of the averaged weights that are then validated; swa_from: the first epoch (from 1) whose
    weights are averaged."""

    name: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    schedule: str = "none"
    factor: float = 0.1
    patience: int = 0
    min_lr: float = 0.0
    warmup_epochs: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    ema: float | None = None
    swa_from: int | None = None
    turns: str = "together"


@dataclass(frozen=True)
class ObjectiveConfig:
    """erm: the mean loss. reweight: each group's mean counts the same. group_dro: groups weighted by their losses, moved
    by step_size (Sagawa et al. 2020)."""

    name: str = "erm"
    step_size: float = 0.01


@dataclass(frozen=True)
class LoopConfig:
    """batch: images a batch, over all processes together (`optim.accumulate` batches make a step). monitor: the head whose validation loss picks the best epoch; null
    is the sum over all. stop_after: epochs without improvement. checkpoint_steps: between checkpoints within an epoch."""

    epochs: int = 1
    batch: int = 32
    seed: int = 0
    monitor: str | None = None
    stop_after: int | None = None
    max_steps: int | None = None
    checkpoint_steps: int | None = None
    deterministic: bool = False
    precision: str = "auto"
    compile: str = "auto"


@dataclass(frozen=True)
class Experiment:
    """A whole experiment. title and source: what it is and where its values come from, for people."""

    name: str
    heads: tuple[HeadConfig, ...]
    title: str = ""
    source: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    input: InputConfig = field(default_factory=InputConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def head(self, name: str) -> HeadConfig:
        return next(head for head in self.heads if head.name == name)
