"""Published checkpoints: built here in their layouts, imported, and the very logits of the original come out."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from cxrtrain.config_file import experiment_of, to_toml
from cxrtrain.models import key_layouts
from cxrtrain.models.key_layouts import CHEXPERT_LABELS, Imported, import_checkpoint
from cxrtrain.models.net import Net
from torch import nn

from cxrdata.errors import CxrError

SIDE = 40


class Bag(dict[str, Any]):
    """As Lightning keeps hyper-parameters: a dictionary with attributes, of a class that readers may lack."""


Bag.__module__, Bag.__qualname__ = "lightning.fabric.utilities.data", "AttributeDict"


@pytest.fixture(autouse=True)
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that the class says it is from, for as long as it is pickled."""
    for name in ("lightning", "lightning.fabric", "lightning.fabric.utilities", "lightning.fabric.utilities.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["lightning.fabric.utilities.data"].AttributeDict = Bag  # type: ignore[attr-defined]


def lightning_file(path: Path, module: nn.Module, **hyper: Any) -> Path:
    """What Lightning's trainer saves."""
    optimiser = torch.optim.Adam(module.parameters(), lr=0.001)
    content = {
        "epoch": 11,
        "global_step": 9000,
        "pytorch-lightning_version": "1.3.8",
        "state_dict": module.state_dict(),
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3)}},
        "optimizer_states": [optimiser.state_dict()],
        "lr_schedulers": [],
    }
    if hyper:
        content |= {"hparams_name": "hparams", "hyper_parameters": Bag(hyper)}
    torch.save(content, path)
    return path


def shaken(module: nn.Module) -> nn.Module:
    """Running statistics as after training, so that a lost one shows."""
    generator = torch.Generator().manual_seed(1)
    for name, one in module.named_buffers():
        if name.endswith("running_mean"):
            one.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            one.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def images(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def logits(net: Net, x: torch.Tensor) -> dict[str, torch.Tensor]:
    assert not net.training
    with torch.no_grad():
        return net(x)


def is_whole(imported: Imported) -> None:
    """The experiment is one that can be written and read again, and the heads are the net's."""
    assert experiment_of(_toml(to_toml(imported.experiment)), where="x") == imported.experiment
    assert {head.name: head.outputs for head in imported.heads} == imported.net.outputs
    assert len(imported.mean) == len(imported.sd)


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


class Single(nn.Module):
    """chexploration: one task."""

    def __init__(self, backbone: str, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = torchvision.models.get_model(backbone, weights=None)
        last = "classifier" if backbone.startswith("densenet") else "fc"
        setattr(self.model, last, nn.Linear(getattr(self.model, last).in_features, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


@pytest.mark.parametrize(
    ("backbone", "head", "outputs"),
    [
        ("densenet121", "disease", CHEXPERT_LABELS),
        ("resnet34", "race", ("White", "Asian", "Black")),
        ("resnet34", "sex", ("M", "F")),
    ],
)
def test_chexploration(tmp_path: Path, backbone: str, head: str, outputs: tuple[str, ...]) -> None:
    module = shaken(Single(backbone, len(outputs)))
    imported = import_checkpoint(lightning_file(tmp_path / "epoch=11-step=9000.ckpt", module))
    is_whole(imported)
    assert (imported.layout, imported.epoch) == ("chexploration", 11)
    assert imported.net.outputs == {head: outputs}
    assert imported.experiment.model.backbone == f"torchvision:{backbone}"
    assert (imported.experiment.input.scale, imported.experiment.input.normalise) == ("0-255", "none")
    assert (imported.experiment.input.channels, imported.experiment.data.side) == (3, 224)
    assert imported.mean == ()
    x = images() * 255
    with torch.no_grad():
        assert torch.equal(logits(imported.net, x)[head], module(x))


def test_chexplorations_split_test_has_its_classifier_twice(tmp_path: Path) -> None:
    module = Single("resnet34", 2)
    module.classifier = module.model.fc
    imported = import_checkpoint(lightning_file(tmp_path / "x.ckpt", shaken(module)))
    with torch.no_grad():
        assert torch.equal(logits(imported.net, images())["sex"], module(images()))
    assert "SPLIT" in imported.notes[0]


class Multitask(nn.Module):
    """chexploration: three tasks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = torchvision.models.resnet34(weights=None)
        self.fc_disease, self.fc_sex, self.fc_race = (nn.Linear(512, width) for width in (14, 2, 3))
        self.fc_connect = nn.Identity(512)
        self.backbone.fc = self.fc_connect

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.backbone(x)
        return self.fc_disease(features), self.fc_sex(features), self.fc_race(features)


def test_chexplorations_three_heads(tmp_path: Path) -> None:
    module = shaken(Multitask())
    imported = import_checkpoint(lightning_file(tmp_path / "x.ckpt", module))
    is_whole(imported)
    assert [head.name for head in imported.heads] == ["disease", "sex", "race"]
    made = logits(imported.net, images())
    with torch.no_grad():
        for name, expected in zip(("disease", "sex", "race"), module(images()), strict=True):
            assert torch.equal(made[name], expected)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("old_names", [True, False])
def test_chexnets_pickled_model(tmp_path: Path, *, parallel: bool, old_names: bool) -> None:
    torch.manual_seed(0)
    model = torchvision.models.densenet121(weights=None)
    model.classifier = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())
    shaken(model)
    with torch.no_grad():
        expected = model(images())
    if old_names:  # as torchvision called its layers when the model was pickled
        for name, layer in model.named_modules():
            if name.rpartition(".")[2].startswith("denselayer"):
                for own in ("norm1", "relu1", "conv1", "norm2", "relu2", "conv2"):
                    layer._modules[f"{own[:-1]}.{own[-1]}"] = layer._modules.pop(own)
    whole = nn.DataParallel(model) if parallel else model
    content = {"model": whole, "best_loss": 0.15, "epoch": 4, "rng_state": torch.get_rng_state(), "LR": 0.01}
    torch.save(content, tmp_path / "checkpoint", _use_new_zipfile_serialization=False)
    imported = import_checkpoint(tmp_path / "checkpoint")
    is_whole(imported)
    assert (imported.layout, imported.epoch) == ("reproduce-chexnet", 4)
    assert imported.heads[0].outputs[:3] == ("atelectasis", "cardiomegaly", "pleural_effusion")
    assert len(imported.heads[0].outputs) == 14 and imported.heads[0].outputs[-1] == "hernia"
    assert imported.experiment.input.normalise == "imagenet"
    assert imported.mean == (0.485, 0.456, 0.406) and imported.sd == (0.229, 0.224, 0.225)
    assert torch.equal(torch.sigmoid(logits(imported.net, images())["findings"]), expected)


class CaseStudy(nn.Module):
    """ped_vs_adults-cxr."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


def test_the_case_studys_hub_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = CaseStudy(timm.create_model("test_convnext", num_classes=2)).eval()
    path = lightning_file(
        tmp_path / "epoch=40.ckpt", module, model_provider="timm", model_name="test_convnext", num_classes=2,
        img_size=(224, 224), dset="nih_cxr18", label_col="Cardiomegaly", use_mixup_aug=True, lr=0.0001,
    )  # fmt: skip
    imported = import_checkpoint(path)
    is_whole(imported)
    assert imported.layout == "ped_vs_adults-cxr"
    (head,) = imported.heads
    assert (head.kind, head.loss, head.outputs, head.width) == ("binary", "ce", ("cardiomegaly",), 2)
    assert imported.mean == (0.5124,) * 3 and imported.sd == (0.2307,) * 3
    assert imported.experiment.data.datasets == ("nih_cxr14",)
    assert imported.experiment.data.side == 224
    with torch.no_grad():
        assert torch.equal(logits(imported.net, images())["cardiomegaly"], module.network(images()))


def test_the_case_studys_own_mean_and_sd_win(tmp_path: Path) -> None:
    module = CaseStudy(timm.create_model("test_convnext", num_classes=2))
    said = {
        "model_provider": "timm",
        "model_name": "test_convnext",
        "dset": "padchest",
        "norm_mean": [0.4],
        "norm_std": [0.2],
    }
    imported = import_checkpoint(lightning_file(tmp_path / "x.ckpt", module, **said, img_size=10**9))
    assert imported.mean == (0.4,) * 3 and imported.sd == (0.2,) * 3
    assert imported.experiment.data.side == 224  # no side that nobody could hold


def test_convnext_base_is_known_by_its_names_alone() -> None:
    with torch.device("meta"):
        state = CaseStudy(timm.create_model("convnext_base", num_classes=2)).state_dict()
        small = CaseStudy(timm.create_model("convnext_tiny", num_classes=2)).state_dict()
    known = key_layouts._recognise(state, {})
    assert known is not None and known.backbone == "convnext_base"
    assert known.places == {"cardiomegaly": "network.head.fc"}
    assert any("does not say" in note for note in known.notes)
    assert key_layouts._recognise(small, {}) is None


def test_what_is_of_no_layout_is_said_so(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "x.pth")
    with pytest.raises(CxrError, match="no layout known here") as caught:
        import_checkpoint(tmp_path / "x.pth")
    assert caught.value.code == "CXR-157"


def test_a_backbone_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    state = Single("resnet34", 3).state_dict()
    del state["model.layer2.1.bn2.running_var"]
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")
    with pytest.raises(CxrError, match=r"1 missing: layer2\.1\.bn2\.running_var") as caught:
        import_checkpoint(tmp_path / "x.ckpt")
    assert caught.value.code == "CXR-157"


def test_a_backbone_named_in_the_file_is_never_fetched(tmp_path: Path) -> None:
    """timm would load a model and its configuration from the hub for such a name."""
    module = CaseStudy(nn.Linear(4, 2))
    path = lightning_file(tmp_path / "x.ckpt", module, model_provider="timm", model_name="hf-hub:someone/something")
    with pytest.raises(CxrError) as caught:
        import_checkpoint(path)
    assert caught.value.code == "CXR-501"
