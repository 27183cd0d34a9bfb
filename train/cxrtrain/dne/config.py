"""What a DNE experiment is. Defaults are the published values (Jin et al., MICCAI 2024, arXiv 2403.06104); a file says what differs.

Not stated there, and ours: the objective `uniform`, the seed, ImageNet's normalisation (of the MAE recipe), the batch of fine-tuning,
the threshold 0.5, that the epoch of the lowest validation loss is kept, and all of [black] but directions, scale, decay, momentum.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cxrtrain.config import DataConfig, Experiment, HeadConfig, InputConfig, ModelConfig

WHITE, BLACK, GIVEN = "white", "black", "given"
ACCESS = (WHITE, BLACK)
OBJECTIVES = ("uniform", "negative_ce")
SPACES = ("pixels", "grid")
DISEASE, ATTRIBUTE = "disease", "attribute"  # the names of the two heads


@dataclass(frozen=True)
class DiseaseConfig:
    """One finding against healthy images. policy: what uncertain and unmentioned labels become; labeler: null is the one that
    each dataset prefers."""

    finding: str
    policy: str = "zeros"
    labeler: str | None = None


@dataclass(frozen=True)
class AttributeConfig:
    """name: as `--by` and a head of `cxrdata train` name it: sex, age_years>60, race=White. classes: its two values."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class BackboneConfig:
    """The frozen model; backbone, weights and pooling as in [model] of `cxrdata train`. Of `run:FOLDER` the run says all of
    it, and what is done to images before it."""

    name: str = "vit_base_patch16_224"
    weights: str = "mae-vit-b16.pth"
    pooling: str | None = "avg"
    precision: str = "auto"


@dataclass(frozen=True)
class ProbeConfig:
    """The attribute's linear head on clean embeddings: Adam."""

    lr: float = 1e-4
    epochs: int = 50
    batch: int = 64


@dataclass(frozen=True)
class NoiseConfig:
    """access: `white` takes gradients through the backbone, `black` asks it for embeddings alone; both may be named.
    objectives: each is fitted; the first is the one that is recommended. weight: λ₁; penalty: λ_reg, of several the largest whose
    noise leaves a fresh probe about as little as any on validation images. limit: greatest change of a pixel, of values 0 to 1; null:
    none. lr, epochs: of Adam, white-box."""

    access: tuple[str, ...] = (WHITE,)
    objectives: tuple[str, ...] = OBJECTIVES
    lr: float = 5e-5
    batch: int = 128
    epochs: int = 25
    weight: float = 1.0
    penalty: tuple[float, ...] = (0.001, 0.01)
    limit: float | None = None


@dataclass(frozen=True)
class BlackConfig:
    """GeZO. spaces: directions per `pixels`, or on a `grid` of so many places a side; each is a fit of its own. batch: images
    of a step, each asked for 2 × directions times and twice more. budget: queries (an image embedded is one) of one fit, null:
    what the steps take. judge_every: steps between looks at the validation images, which are queries too."""

    spaces: tuple[str, ...] = SPACES
    grid: int = 16
    steps: int = 200
    directions: int = 10
    scale: float = 0.02
    decay: float = 0.95
    momentum: float = 0.9
    batch: int = 128
    budget: int | None = None
    judge_every: int = 20
    judge_images: int = 256


@dataclass(frozen=True)
class FinetuneConfig:
    """The disease's linear head, with the noise and without (ERM): AdamW, its rate base_lr · batch / 256."""

    base_lr: float = 2.5e-4
    weight_decay: float = 0.05
    epochs: int = 50
    batch: int = 128


@dataclass(frozen=True)
class JudgeConfig:
    """threshold: a number, or a rule of `cxrdata audit --threshold`, which then chooses on validation images."""

    threshold: str = "0.5"
    bootstrap: int = 2000
    test: str = "test"


@dataclass(frozen=True)
class PhantomsConfig:
    """Drawn data in place of a catalog and store of one's own, and the backbone trained on other drawn images.

    dataset, scale: what is drawn, as a share of its official size; norms: a file beside the experiment's (the mark stands in it).
    pretrain: an experiment of `cxrdata train`, on the images of `pretrain_dataset`; pretrain_set: its `--set`.
    correlation, per_cell, train_images: of `cxrdata split --spurious`. Seeds follow from the experiment's."""

    dataset: str
    scale: float
    norms: str
    pretrain: str
    pretrain_dataset: str
    pretrain_scale: float
    pretrain_set: tuple[str, ...] = ()
    correlation: float = 0.9
    per_cell: int = 200
    train_images: int | None = None


@dataclass(frozen=True)
class DneExperiment:
    """A whole experiment. title and source: what it is and where its values come from, for people."""

    name: str
    disease: DiseaseConfig
    attribute: AttributeConfig
    title: str = ""
    source: str = ""
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    input: InputConfig = field(default_factory=lambda: InputConfig(normalise="imagenet"))
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    black: BlackConfig = field(default_factory=BlackConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    phantoms: PhantomsConfig | None = None

    @property
    def as_training(self) -> Experiment:
        """The same images, heads and backbone as an experiment of `cxrdata train`, which prepares the bundle."""
        return Experiment(
            name=self.name,
            heads=(
                HeadConfig(
                    DISEASE, "binary", finding=self.disease.finding, policy=self.disease.policy, labeler=self.disease.labeler
                ),
                HeadConfig(ATTRIBUTE, "classes", attribute=self.attribute.name, classes=self.attribute.classes),
            ),
            data=self.data,
            input=self.input,
            model=ModelConfig(
                self.backbone.name, self.backbone.weights, freeze="backbone", pooling=self.backbone.pooling
            ),
        )  # fmt: skip
