"""Weights from files, runs and ImageNet: what fits is loaded, what does not is named, and nothing is left out unsaid."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.models import fetching
from cxrtrain.models.net import Net, build_net
from cxrtrain.models.weights import BEST, load_weights, outputs_metadata
from safetensors.torch import save_file
from torch import Tensor, nn

from cxrdata.errors import CxrError

HEART = HeadTargets("heart", "binary", "bce", ("cardiomegaly",), ("target_heart",))
SEX = HeadTargets("sex", "classes", "ce", ("M", "F"), ("target_sex",))
RACE = HeadTargets("race", "classes", "ce", ("White", "Asian", "Black"), ("target_race",))


@pytest.fixture(autouse=True)
def nothing_fetched_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("CXRDATA_WEIGHTS", raising=False)


def net_of(backbone: str, *heads: HeadTargets, channels: int = 3, side: int = 64, seed: int = 7, **said: str) -> Net:
    config = ModelConfig(backbone=backbone, **said)
    return build_net(config, heads or (HEART,), channels=channels, side=side, seed=seed)


def load(net: Net, backbone: str, weights: str, *, said: list[str] | None = None, **config: str) -> list[str]:
    announced = said if said is not None else []
    return load_weights(net, ModelConfig(backbone=backbone, weights=weights, **config), say=announced.append)


def fault(net: Net, backbone: str, weights: str, **config: str) -> CxrError:
    before = {name: one.clone() for name, one in net.state_dict().items()}
    with pytest.raises(CxrError) as caught:
        load(net, backbone, weights, **config)
    assert all(torch.equal(before[name], one) for name, one in net.state_dict().items())
    return caught.value


def original(name: str = "test_resnet", classes: int = 1000) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(name, num_classes=classes)
    return made.eval()


def test_none_changes_nothing() -> None:
    net, same = net_of("small"), net_of("small")
    assert load(net, "small", "none") == []
    assert all(torch.equal(one, same.state_dict()[name]) for name, one in net.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "_orig_mod.", "module._orig_mod.model."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_is_loaded_under_whatever_wrapper(tmp_path: Path, prefix: str, suffix: str) -> None:
    model = original()
    path = tmp_path / f"weights{suffix}"
    state = {f"{prefix}{name}": one for name, one in model.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state, "epoch": 1}, path)
    net = net_of("test_resnet").eval()
    notes = load(net, "test_resnet", str(path))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net.features(x), model.forward_head(model.forward_features(x), pre_logits=True))
    assert notes == [f"weights: {path.name}", "left out: its classifier of 1,000 outputs; heads start anew (heart 1)"]


def test_a_classifier_of_the_heads_width_becomes_the_head(tmp_path: Path) -> None:
    model = original(classes=3)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    net = net_of("test_resnet", RACE).eval()
    notes = load(net, "test_resnet", str(tmp_path / "w.pth"))
    assert "its classifier of 3 outputs became the head race" in notes
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(x)["race"], model(x))
    alone = net_of("test_resnet", RACE)
    before = alone.heads["race"].weight.clone()
    load(alone, "test_resnet", f"{tmp_path / 'w.pth'}#backbone")
    assert torch.equal(alone.heads["race"].weight, before)
    assert torch.equal(alone.backbone.bn1.weight, net.backbone.bn1.weight)


def test_three_channels_weights_answer_to_grey_images_as_before(tmp_path: Path) -> None:
    model = original()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    net = net_of("test_resnet", channels=1).eval()
    notes = load(net, "test_resnet", str(tmp_path / "w.pth"))
    assert "its first convolution was summed over the three channels" in notes
    grey = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(grey.repeat(1, 3, 1, 1)), pre_logits=True)
        assert torch.allclose(net.features(grey), expected, atol=1e-4)


def test_a_transformers_positions_are_resampled_and_its_norm_follows_the_pooling(tmp_path: Path) -> None:
    model = original("test_vit")
    state = model.state_dict() | {"mask_token": torch.zeros(1, 1, 64), "decoder_pred.weight": torch.zeros(8, 64)}
    torch.save({"model": state}, tmp_path / "mae.pth")
    net = net_of("test_vit", side=96, pooling="avg")
    notes = load(net, "test_vit", str(tmp_path / "mae.pth"))
    assert "its positions were resampled to 6 by 6 patches" in notes
    assert "left out: 2 tensors that make no features" in notes
    assert torch.equal(net.backbone.fc_norm.weight, model.norm.weight)
    assert torch.equal(net.backbone.blocks[3].attn.qkv.weight, model.blocks[3].attn.qkv.weight)
    assert net.backbone.pos_embed.shape == (1, 37, 64)


def test_densenets_old_names_are_todays(tmp_path: Path) -> None:
    model = torchvision.models.densenet121(weights=None)
    old = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: one
        for name, one in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(old, tmp_path / "w.pth")
    net = net_of("torchvision:densenet121", side=32)
    load(net, "torchvision:densenet121", str(tmp_path / "w.pth"))
    name = "features.denseblock3.denselayer7.conv2.weight"
    assert torch.equal(net.backbone.state_dict()[name], model.state_dict()[name])


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    torch.save(original("test_convnext").state_dict(), tmp_path / "w.pth")
    error = fault(net_of("test_resnet"), "test_resnet", str(tmp_path / "w.pth"))
    assert error.code == "CXR-157"
    assert "missing: conv1.0.weight, conv1.1.weight" in error.problem and "unexpected: stem.0.weight" in error.problem
    wider: dict[str, Tensor] = original().state_dict()
    wider["layer2.0.conv1.weight"] = torch.zeros(9, 9, 3, 3)
    torch.save(wider, tmp_path / "w.pth")
    error = fault(net_of("test_resnet"), "test_resnet", str(tmp_path / "w.pth"))
    assert "1 of another shape: layer2.0.conv1.weight [9, 9, 3, 3], not [48, 32, 3, 3]" in error.problem


def test_a_file_of_our_own_is_known_by_backbone_and_heads(tmp_path: Path) -> None:
    trained, net = net_of("small", SEX, seed=1), net_of("small", SEX, seed=2)
    save_file(trained.state_dict(), tmp_path / "best.safetensors")
    assert load(net, "small", str(tmp_path / "best.safetensors")) == ["weights: best.safetensors"]
    assert torch.equal(net.heads["sex"].weight, trained.heads["sex"].weight)
    assert "of another task" in fault(net_of("small", RACE), "small", str(tmp_path / "best.safetensors")).problem
    # A classifier that torchvision's transformers call so makes no net of ours of a file.
    save_file({"heads.head.weight": torch.ones(2, 4)}, tmp_path / "vit.safetensors")
    assert "do not fit" in fault(net_of("small", RACE), "small", str(tmp_path / "vit.safetensors")).problem


def test_a_damaged_file_and_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all..")
    assert fault(net_of("small"), "small", str(tmp_path / "w.safetensors")).code == "CXR-158"
    assert fault(net_of("small"), "small", str(tmp_path / "none.pth")).code == "CXR-159"


# --- a run's own -----------------------------------------------------------------------------------------------------


def a_run(folder: Path, net: Net, *, header: bool = True) -> str:
    (folder / BEST).parent.mkdir(parents=True)
    save_file(net.state_dict(), folder / BEST, metadata=outputs_metadata(net) if header else None)
    return f"run:{folder}"


def test_a_runs_best_checkpoint(tmp_path: Path) -> None:
    trained = net_of("small", HEART, SEX, seed=1)
    net = net_of("small", HEART, SEX, seed=2)
    load(net, "small", a_run(tmp_path / "run", trained))
    assert all(torch.equal(one, trained.state_dict()[name]) for name, one in net.state_dict().items())


@pytest.mark.parametrize("header", [True, False])
def test_a_head_of_another_task_is_refused_unless_the_backbone_alone_is_wanted(tmp_path: Path, *, header: bool) -> None:
    run = a_run(tmp_path / "run", net_of("small", SEX, seed=1), header=header)
    error = fault(net_of("small", RACE), "small", run)
    assert error.code == "CXR-157"
    assert "another task: its heads are sex" in error.problem and "asked for: race" in error.problem
    for weights, freeze in ((f"{run}#backbone", "none"), (run, "backbone")):
        net, fresh = net_of("small", RACE), net_of("small", RACE)
        notes = load(net, "small", weights, freeze=freeze)
        assert "the backbone alone" in notes[0]
        assert torch.equal(net.heads["race"].weight, fresh.heads["race"].weight)
        assert not torch.equal(net.backbone.stem[0].weight, fresh.backbone.stem[0].weight)


def test_a_head_of_the_same_shape_for_other_labels_is_refused(tmp_path: Path) -> None:
    other = HeadTargets("race", "classes", "ce", ("Asian", "Black", "White"), ("target_race",))
    error = fault(net_of("small", RACE), "small", a_run(tmp_path / "run", net_of("small", other)))
    assert error.code == "CXR-157" and "Asian, Black, White" in error.problem


def test_a_run_of_another_backbone_and_none_at_all(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", net_of("small"))
    assert fault(net_of("test_convnext"), "test_convnext", run).code == "CXR-157"
    assert fault(net_of("small"), "small", f"run:{tmp_path / 'nowhere'}").code == "CXR-155"


# --- ImageNet --------------------------------------------------------------------------------------------------------


def test_imagenet_comes_from_the_folder_of_weights_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRDATA_WEIGHTS", str(tmp_path))
    model = original()
    save_file(model.state_dict(), tmp_path / "test_resnet.safetensors")
    net, said = net_of("test_resnet"), list[str]()
    notes = load(net, "test_resnet", "imagenet", said=said)
    assert notes[0] == "weights: ImageNet, test_resnet.safetensors" and said == []
    assert torch.equal(net.backbone.bn1.weight, model.bn1.weight)
    tv = torchvision.models.resnet18(weights=None)
    torch.save(tv.state_dict(), tmp_path / "torchvision-resnet18.pth")
    net = net_of("torchvision:resnet18")
    load(net, "torchvision:resnet18", "imagenet")
    assert torch.equal(net.backbone.layer4[1].conv2.weight, tv.layer4[1].conv2.weight)


@pytest.mark.parametrize(
    ("backbone", "file"),
    [("test_resnet", "test_resnet.safetensors"), ("torchvision:densenet121", "torchvision-densenet121.pth")],
)
def test_without_a_network_it_says_which_file_to_put_where(
    backbone: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fetching.url_of(backbone)
    assert found is not None
    monkeypatch.setattr(fetching, "url_of", lambda _: "http://127.0.0.1:9/" + found.rpartition("/")[2])
    error = fault(net_of(backbone), backbone, "imagenet")
    assert error.code == "CXR-159"
    assert error.fix is not None and f"save it as {file} in a folder that $CXRDATA_WEIGHTS names" in error.fix


def test_where_weights_are_published() -> None:
    assert fetching.url_of("densenet121.tv_in1k") == (
        "http://127.0.0.1:9/timm/densenet121.tv_in1k/resolve/main/model.safetensors"
    )
    assert str(fetching.url_of("torchvision:resnet50")).endswith("resnet50-0676ba61.pth")  # the first, not the best


def test_a_backbone_without_imagenet_weights_is_named() -> None:
    assert fault(net_of("small"), "small", "imagenet").code == "CXR-159"


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """A web server: its address, what it has by path, what it was asked for."""
    content: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = content.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"") + (7 if "short" in self.path else 0)))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.daemon_threads = False
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", content, asked
        serving.shutdown()
        thread.join()


def test_weights_are_fetched_once_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, dict[str, bytes], list[str]]
) -> None:
    address, content, asked = server
    monkeypatch.setenv("HF_ENDPOINT", address)
    save_file(original().state_dict(), tmp_path / "there.safetensors")
    path = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    content[path] = (tmp_path / "there.safetensors").read_bytes()
    said: list[str] = []
    for _ in range(2):
        load(net_of("test_resnet"), "test_resnet", "imagenet", said=said)
    assert asked == [path]
    assert said == [f"fetching the ImageNet weights of test_resnet, this once: {address}{path}"]
    assert [one.name for one in (tmp_path / "cache" / "cxrdata" / "weights").iterdir()] == ["test_resnet.safetensors"]


@pytest.mark.parametrize("kind", ["missing", "short", "other"])
def test_what_did_not_come_whole_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, dict[str, bytes], list[str]], kind: str
) -> None:
    address, content, _ = server
    short = hashlib.sha256(b"the published file").hexdigest()[:8]
    path = f"/{kind}/resnet18-{short}.pth"
    if kind != "missing":
        content[path] = b"the published file" if kind == "short" else b"a log-in page"
    monkeypatch.setattr(fetching, "url_of", lambda _: f"{address}{path}")
    error = fault(net_of("torchvision:resnet18"), "torchvision:resnet18", "imagenet")
    assert error.code == "CXR-159"
    assert not list((tmp_path / "cache" / "cxrdata" / "weights").iterdir())
