"""The benchmark of training runs, in its tiny form, on what this machine has; it asserts no speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import train_gpu
from benchmarks.train_gpu import Result


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], list[dict[str, object]]]:
    out = tmp_path_factory.mktemp("train_gpu")
    train_gpu.main(["--smoke", "--out", str(out), "--profile"])
    assert "aten::" in (out / "train_gpu_profile.txt").read_text(encoding="utf-8")
    content = json.loads((out / "train_gpu.json").read_text(encoding="utf-8"))
    return content, content["results"]


def test_every_part_is_measured(told: tuple[dict[str, object], list[dict[str, object]]]) -> None:
    _, results = told
    assert [one["part"] for one in results] == list(train_gpu.PARTS)
    assert all(isinstance(one["images_per_s"], float) and one["images_per_s"] > 0 for one in results)


def test_the_trainer_is_told_as_a_share_of_the_roof(told: tuple[dict[str, object], list[dict[str, object]]]) -> None:
    by_part = {str(one["part"]): one for one in told[1]}
    roof = by_part["roof"]["images_per_s"]
    for part in ("resident", "prefetched", "files"):
        assert by_part[part]["of_roof"] == pytest.approx(by_part[part]["images_per_s"] / roof)  # type: ignore[operator]
        assert 0 <= by_part[part]["waiting"] <= 1  # type: ignore[operator]
    assert by_part["predict"]["of_roof"] is None


def test_results_name_device_date_and_versions(told: tuple[dict[str, object], list[dict[str, object]]]) -> None:
    assert {"device", "date", "torch", "python", "model"} <= told[0].keys()
    assert not any(
        "/" in str(value) for value in told[0].values() if isinstance(value, str)
    )  # no folder of this machine


def test_the_aim_is_judged_by_the_best_batch() -> None:
    some = [Result("resident", 64, 3000.0, 0.99), Result("resident", 256, 4100.0, 0.94), Result("roof", 256, 4362.0)]
    assert train_gpu.aims(some) == ("resident, at its best (batch 256): aim 4,000 images/s met; 95% of the roof missed")
    assert train_gpu.aims([Result("resident", 256, None, note="out of memory")]) == ""


def test_what_does_not_fit_is_told_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def too_much(*_: object) -> tuple[float, float | None]:
        raise train_gpu.torch.OutOfMemoryError("no room\nand a long explanation")

    monkeypatch.setattr(train_gpu, "roof", too_much)
    train_gpu.main(["--smoke", "--parts", "roof,predict", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "train_gpu.json").read_text(encoding="utf-8"))["results"]
    assert results[0] == {
        "part": "roof", "batch": 4, "images_per_s": None, "of_roof": None, "waiting": None, "note": "no room",
    }  # fmt: skip
    assert results[1]["images_per_s"] > 0
    assert "no room" in capsys.readouterr().out


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_gpu.main(["--smoke", "--parts", "ours"])
    assert "no such part: ours; parts: roof, resident, prefetched, files, predict" in capsys.readouterr().err
