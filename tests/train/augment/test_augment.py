"""The whole of it: what is drawn, what is left alone, and that neither device, threads nor company matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from cxrtrain.augment import Augment, Drawn, reference_histogram
from cxrtrain.config import AugmentConfig

ALL = AugmentConfig(
    flip_p=0.5,
    affine_p=0.5,
    rotate_degrees=15,
    translate=0.1,
    zoom=(0.7, 1.2),
    shear_degrees=10,
    crop_p=0.5,
    crop=(0.3, 1.0),
    zoom_out_p=0.5,
    zoom_out=(1.0, 2.0),
    equalise_p=0.5,
    sharpness_p=0.5,
    sharpness=(0.5, 3.0),
    blur_p=0.5,
    blur_sigma=(0.1, 2.0),
    histogram_p=0.5,
    histogram_blend=0.5,
)
STEPS = ("flip", "affine", "crop", "zoom_out", "equalise", "histogram", "sharpness", "blur")
PROBABILITIES = [f"{step}_p" for step in STEPS]


@pytest.fixture
def augment(levels: Tensor) -> Augment:
    return Augment(ALL, reference_histogram(levels[:3]))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def only(step: str, probability: float) -> AugmentConfig:
    """ALL with this one step."""
    return replace(ALL, **dict.fromkeys(PROBABILITIES, 0.0) | {f"{step}_p": probability})


def same(one: Drawn, other: Drawn) -> bool:
    return all(torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Drawn))


def test_nothing_asked_gives_the_very_images(images: Tensor, generator: torch.Generator) -> None:
    augment = Augment(AugmentConfig())
    assert augment.apply(images, augment.draw(8, generator)) is images


@pytest.mark.parametrize("step", STEPS)
def test_a_step_changes_the_images_that_drew_it_and_no_other(
    step: str, images: Tensor, levels: Tensor, generator: torch.Generator
) -> None:
    augment = Augment(only(step, 0.5), reference_histogram(levels[:3]))
    drawn = augment.draw(8, generator)
    chosen = drawn.sharpen if step == "sharpness" else getattr(drawn, step)
    assert 0 < int(chosen.sum()) < 8
    before = images.clone()
    after = augment.apply(images, drawn)
    assert torch.equal(images, before)  # what came in is left alone
    for at in range(8):
        assert torch.equal(after[at], before[at]) == (not chosen[at])
    assert after.dtype == torch.float32 and float(after.min()) >= 0 and float(after.max()) <= 1


@pytest.mark.parametrize("step", STEPS)
def test_probabilities_hold(step: str, generator: torch.Generator) -> None:
    def share(probability: float) -> float:
        drawn = Augment(only(step, probability), torch.ones(256)).draw(4000, generator)
        return float((drawn.sharpen if step == "sharpness" else getattr(drawn, step)).double().mean())

    assert share(0.0) == 0
    assert share(1.0) == 1
    assert share(0.25) == pytest.approx(0.25, abs=0.03)


def test_parameters_fill_their_ranges_and_are_plain_where_not_drawn(generator: torch.Generator) -> None:
    drawn = Augment(ALL, torch.ones(256)).draw(4000, generator)
    ranges = {
        "degrees": (drawn.degrees, drawn.affine, -15, 15, 0),
        "shift": (drawn.shift[:, 0], drawn.affine, -0.1, 0.1, 0),
        "zoom": (drawn.zoom, drawn.affine, 0.7, 1.2, 1),
        "shear": (drawn.shear, drawn.affine, -10, 10, 0),
        "canvas": (drawn.canvas[:, 0], drawn.zoom_out, 1, 2, 1),
        "sharpness": (drawn.sharpness, drawn.sharpen, 0.5, 3, 1),
        "sigma": (drawn.sigma, drawn.blur, 0.1, 2, 0),
    }
    for name, (value, chosen, low, high, plain) in ranges.items():
        slack = (high - low) / 100
        assert low <= value[chosen].min() <= low + slack, name
        assert high - slack <= value[chosen].max() <= high, name
        assert (value[~chosen] == plain).all(), name


def test_crops_lie_inside_and_keep_area_and_aspect(generator: torch.Generator) -> None:
    drawn = Augment(only("crop", 1.0)).draw(4000, generator)
    left, top, width, height = drawn.box.T
    assert (drawn.box[:, :2] >= 0).all()
    assert (left + width <= 1).all() and (top + height <= 1).all()
    area, aspect = width * height, width / height
    assert 0.3 <= area.min() < 0.31 and area.max() <= 1
    assert aspect.min() + 1e-12 >= 0.75 and aspect.min() < 0.76 and 1.32 < aspect.max() <= 4 / 3 + 1e-12
    assert (drawn.box[:, 2:] < 1).all()  # ten tries are enough for these areas
    whole = Augment(AugmentConfig(crop_p=1.0, crop=(1.0, 1.0))).draw(50, generator)
    assert (whole.box == torch.tensor([0.0, 0.0, 1.0, 1.0])).all()  # no other crop of the whole area fits


def test_same_seed_same_draw_and_another_step_more_shifts_nothing() -> None:
    def drawn(config: AugmentConfig) -> Drawn:
        return Augment(config, torch.ones(256)).draw(16, torch.Generator().manual_seed(5))

    assert same(drawn(ALL), drawn(ALL))
    assert torch.equal(drawn(only("blur", 0.5)).sigma, drawn(ALL).sigma)


def test_a_part_of_the_batch_comes_out_as_in_the_whole(
    augment: Augment, images: Tensor, generator: torch.Generator
) -> None:
    drawn = augment.draw(8, generator)
    whole = augment.apply(images, drawn)
    parts = [augment.apply(images[at : at + 2], drawn[at : at + 2]) for at in range(0, 8, 2)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.usefixtures("threads")
def test_one_thread_or_two(augment: Augment, images: Tensor, generator: torch.Generator) -> None:
    drawn = augment.draw(8, generator)
    many = images.repeat(1, 1, 4, 4)  # large enough to be shared out
    torch.set_num_threads(1)
    one = augment.apply(many, drawn)
    torch.set_num_threads(2)
    assert torch.equal(augment.apply(many, drawn), one)


def test_autocast_takes_no_bits(images: Tensor, generator: torch.Generator) -> None:
    class Watched(Augment):
        def _steps(self, images: Tensor, drawn: Drawn) -> Tensor:
            assert not torch.is_autocast_enabled("cpu")
            return super()._steps(images, drawn)

    augment = Watched(only("affine", 1.0))
    drawn = augment.draw(8, generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = augment.apply(images, drawn)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, augment.apply(images, drawn))


def test_nothing_waits_for_the_device(augment: Augment, generator: torch.Generator) -> None:
    # Images without pixels: whatever asks for a value, or for a shape that hangs on values, raises.
    absent = torch.empty((8, 1, 64, 64), device="meta")
    with pytest.raises(RuntimeError):
        (absent > 0).any().item()
    assert augment._steps(absent, augment.draw(8, generator)).shape == absent.shape


def test_what_is_missing_or_does_not_fit_is_said(images: Tensor, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="reference"):
        Augment(ALL)
    augment = Augment(AugmentConfig(flip_p=0.5))
    with pytest.raises(ValueError, match="8 images and parameters for 7"):
        augment.apply(images, augment.draw(7, generator))
