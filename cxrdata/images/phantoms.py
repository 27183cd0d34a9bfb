"""Drawn chests: thorax, lungs, ribs, spine, diaphragm and a heart of known width.

A stand-in for training where no real image is at hand. What matters is drawn to measure: the heart's width over the
thorax's, the shape of a child's chest, AP or PA; what does not is drawn so that a person sees a chest.

Coordinates: x from -1 (left edge of the picture, the patient's right) to 1, y from -1 (top) to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cxrdata.images.phantom_marks import Floats, stamp
from cxrdata.images.phantom_norms import Look, Norms

_ADULT_AGES = (20.0, 85.0)
_DRAWN_SIDE = 192
# How far the heart's sides and its lower end fade beyond where they are.
_HEART_EDGE, _HEART_END = 0.0225, 0.05


@dataclass(frozen=True)
class Subject:
    """Whom to draw. `age_years` null: some adult. `view` as in the catalog; all but `LATERAL` are drawn from the front.
    `enlarged`: whether a label or a box calls the heart so. `marked`: whether the norms' mark is his or hers."""

    dataset: str
    age_years: float | None
    view: str | None
    enlarged: bool
    marked: bool = False


@dataclass(frozen=True)
class Truth:
    """What was drawn. `ctr`: greatest width of the heart over that of the thorax, as in the picture (AP: magnified);
    `ctr_pa` before magnification; `heart`: x_min, y_min, x_max, y_max of it as shares of the picture; all null in a lateral
    view. `age_years`: as drawn. `enlarged`: whether the heart is, which it is by its label unless the norms part the two."""

    age_years: float
    ctr: float | None
    ctr_pa: float | None
    exposure: float
    noise: float
    heart: tuple[float, float, float, float] | None = None
    enlarged: bool = False


@dataclass(frozen=True)
class _Chest:
    """The measures of one chest, in the picture's coordinates."""

    child: float  # 1 newborn, 0 grown up
    centre: float
    half_width: float
    apex: float
    base: float
    tilt: float
    ratio: float
    right_share: float


def draw_phantom(
    rng: np.random.Generator, norms: Norms, subject: Subject, rows: int, columns: int
) -> tuple[Floats, Truth]:
    """One picture, shape (rows, columns), 0 black to 1 white, and what it shows."""
    age = subject.age_years if subject.age_years is not None else float(rng.uniform(*_ADULT_AGES))
    look = norms.look(subject.dataset)
    ratio = norms.draw_ratio(rng, age, enlarged=subject.enlarged)
    shown_ratio = ratio * norms.ap_factor if subject.view == "AP" else ratio
    chest = _measures(rng, age, shown_ratio)
    lateral = subject.view == "LATERAL"
    drawn = _drawn_size(rows, columns)
    picture = _from_the_side(rng, chest, *drawn) if lateral else _from_the_front(rng, chest, *drawn)
    picture = _enlarged(picture, rows, columns)
    exposure = _expose(rng, picture, look)
    # Last of all: but for the mark, a picture is the same with it and without.
    if subject.marked and norms.mark is not None:
        stamp(rng, picture, norms.mark)
    seen, on_pa = (None, None) if lateral else (round(shown_ratio, 4), round(ratio, 4))
    heart = None if lateral else heart_place(chest)
    return picture, Truth(
        round(age, 4), seen, on_pa, round(exposure, 4), look.noise, heart, norms.enlarges(subject.enlarged)
    )


def _drawn_size(rows: int, columns: int) -> tuple[int, int]:
    """Nothing that is drawn is finer than this; the rest is noise."""
    longest = max(rows, columns)
    share = min(1.0, _DRAWN_SIDE / longest)
    return max(1, round(rows * share)), max(1, round(columns * share))


def _enlarged(picture: Floats, rows: int, columns: int) -> Floats:
    if picture.shape == (rows, columns):
        return picture
    from PIL import Image

    return np.array(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BILINEAR))


def _measures(rng: np.random.Generator, age: float, ratio: float) -> _Chest:
    child = float(np.clip(1 - age / 12, 0, 1))
    size = rng.normal(0, 0.025)
    return _Chest(
        child=child,
        centre=float(rng.normal(0, 0.02)),
        half_width=0.70 + 0.02 * child + size,
        # A small child's picture shows more of the neck and the belly, and its chest is as wide as high.
        apex=-0.80 + 0.14 * child + float(rng.normal(0, 0.02)),
        base=0.52 - 0.16 * child + float(rng.normal(0, 0.04)),
        tilt=float(rng.normal(0, 0.02)),
        ratio=ratio,
        right_share=float(np.clip(rng.normal(0.33, 0.025), 0.25, 0.42)),
    )


@lru_cache(maxsize=64)
def _grid(rows: int, columns: int) -> tuple[Floats, Floats]:
    """y of shape (rows, 1), x of shape (1, columns): the middles of the pixels."""
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * np.float32(2 / rows) - 1
    x = (np.arange(columns, dtype=np.float32)[None, :] + 0.5) * np.float32(2 / columns) - 1
    return y, x


def _soft(distance: Floats, blur: float) -> Floats:
    """0 outside to 1 inside of an edge, over a distance of `blur`."""
    return np.asarray(np.clip(distance * np.float32(1 / blur) + np.float32(0.5), 0, 1), dtype=np.float32)


def wall(chest_half_width: float, apex: float, base: float, y: Floats) -> Floats:
    """Half the inner width of the thorax at each height: a dome, widest just above the diaphragm."""
    t = np.clip((y - apex) / (base - apex), 0, 1.25)
    return np.asarray(chest_half_width * np.sin(np.pi / 2 * np.clip(t / 0.92, 0, 1) ** 0.5), dtype=np.float32)


def heart_borders(chest: _Chest, y: Floats) -> tuple[Floats, Floats]:
    """How far the heart reaches to the patient's right and left of the midline at each height.

    Their greatest values add up to the ratio times the thorax's width.
    """
    width = chest.ratio * 2 * chest.half_width
    right, left = width * chest.right_share, width * (1 - chest.right_share)
    height = chest.base - chest.apex
    # The right border is highest bulged at the atrium, the left one at the ventricle, lower and longer.
    right_at, right_half = chest.base - 0.20 * height, (0.20 + 0.20 * chest.ratio) * height
    left_at, left_half = chest.base - 0.13 * height, (0.22 + 0.28 * chest.ratio) * height
    bulge_right = np.sqrt(np.clip(1 - ((y - right_at) / right_half) ** 2, 0, None))
    bulge_left = np.clip(1 - np.abs((y - left_at) / left_half) ** 1.7, 0, None) ** 0.6
    return np.asarray(right * bulge_right, np.float32), np.asarray(left * bulge_left, np.float32)


def heart_place(chest: _Chest) -> tuple[float, float, float, float]:
    """What encloses the heart, its soft edges included: x_min, y_min, x_max, y_max as shares of the picture."""
    height = chest.base - chest.apex
    y, _ = _grid(_DRAWN_SIDE, 1)
    right, left = heart_borders(chest, y)
    shown = ((right > 0) | (left > 0)) & (y < chest.base + (0.10 + _HEART_END) * height)
    middle = chest.centre + chest.tilt * y
    edges = (middle - right)[shown].min() - _HEART_EDGE, (middle + left)[shown].max() + _HEART_EDGE
    x_min, x_max = (float(np.clip((x + 1) / 2, 0, 1)) for x in edges)
    y_min, y_max = (float(np.clip((at + 1) / 2, 0, 1)) for at in (y[shown].min(), y[shown].max() + 2 / _DRAWN_SIDE))
    return round(x_min, 4), round(y_min, 4), round(x_max, 4), round(y_max, 4)


def _from_the_front(rng: np.random.Generator, chest: _Chest, rows: int, columns: int) -> Floats:
    y, plain_x = _grid(rows, columns)
    x = plain_x - np.float32(chest.centre) - np.float32(chest.tilt) * y
    beside = np.abs(x)
    height = chest.base - chest.apex
    inner = wall(chest.half_width, chest.apex, chest.base, y)
    picture = _torso(rng, chest, beside, y)

    # The diaphragm: two domes, the patient's right one higher; the lungs end on it and behind it in a sharp angle.
    middle = 0.48 * chest.half_width
    lift = np.where(plain_x < chest.centre, np.float32(0.05 * height), np.float32(0.0))
    dome = chest.base - lift + np.float32(0.42) * (np.abs(plain_x - chest.centre) - np.float32(middle)) ** 2
    air = _soft(inner - beside, 0.03) * _soft(dome - y, 0.025) * _soft(y - np.float32(chest.apex), 0.05)

    right, left = heart_borders(chest, y)
    heart = _soft(x + right, 2 * _HEART_EDGE) * _soft(left - x, 2 * _HEART_EDGE)
    heart = heart * _soft(chest.base + 0.10 * height - y, 2 * _HEART_END)
    great = _great_vessels(rng, chest, x, y, height)
    middle_shadow = np.maximum(heart, great)
    lung = air * (1 - middle_shadow)
    picture += lung * np.float32(-0.44 + 0.05 * chest.child)
    picture += heart * air * np.float32(0.03)
    picture += _lung_markings(rng, chest, lung, beside, y, height)
    picture += _bones(rng, chest, beside, y, inner, height)
    # Gas in the stomach, under the left dome.
    gas = ((x - 0.42 * chest.half_width) / 0.17) ** 2 + ((y - chest.base - 0.16) / 0.075) ** 2
    picture -= np.float32(rng.uniform(0.05, 0.22)) * _soft(1 - gas, 0.6) * _soft(y - dome, 0.02)
    return picture


def _torso(rng: np.random.Generator, chest: _Chest, beside: Floats, y: Floats) -> Floats:
    """Soft tissue before air: shoulders, flanks, belly, neck."""
    flank = np.float32(chest.half_width + 0.13 + float(rng.uniform(0, 0.10)))
    shoulder = _soft(y + np.float32(0.97 - 0.20 * chest.child) - np.float32(0.30) * beside, 0.06)
    body = _soft(flank + np.float32(0.10) * np.abs(y) - beside, 0.05) * shoulder
    arms = _soft(np.float32(0.10) - np.abs(beside - np.float32(1.02)), 0.10) * shoulder * np.float32(0.35)
    neck = _soft(np.float32(0.20) - beside, 0.06) * _soft(-y - np.float32(0.3), 0.1)
    body = np.maximum(np.maximum(body, neck), arms)
    belly = _soft(y - np.float32(chest.base), 0.3)
    fat = np.float32(rng.uniform(0.0, 0.06)) * (1 - (beside / flank) ** 2)
    return np.asarray(np.float32(0.03) + body * (np.float32(0.60) + np.float32(0.13) * belly + fat), dtype=np.float32)


def _great_vessels(rng: np.random.Generator, chest: _Chest, x: Floats, y: Floats, height: float) -> Floats:
    """The upper middle: great vessels, the arch of the aorta in grown-ups, the thymus in infants."""
    down = (y - chest.apex) / np.float32(height)
    band = np.float32(0.105 * chest.half_width / 0.7) + np.float32(0.05) * np.clip(down, 0, 1)
    thymus = np.float32(0.17 * max(0.0, chest.child - 0.65) / 0.35) * np.clip(1 - np.abs(down - 0.28) / 0.25, 0, 1)
    knob = np.float32(0.075 * (1 - chest.child) + 0.01) * np.sqrt(np.clip(1 - ((down - 0.30) / 0.09) ** 2, 0, None))
    pulmonary = np.float32(0.055) * np.sqrt(np.clip(1 - ((down - 0.47) / 0.09) ** 2, 0, None))
    to_left = band + np.maximum(np.maximum(knob, pulmonary), thymus * np.float32(rng.uniform(0.7, 1.1)))
    to_right = band + thymus * np.float32(rng.uniform(0.7, 1.2))
    return _soft(x + to_right, 0.04) * _soft(to_left - x, 0.04)


def _lung_markings(
    rng: np.random.Generator, chest: _Chest, lung: Floats, beside: Floats, y: Floats, height: float
) -> Floats:
    """Vessels: denser towards the hila, finer outwards."""
    hilum_y = chest.apex + 0.50 * height
    away = np.sqrt((beside - np.float32(0.17)) ** 2 + (y - np.float32(hilum_y)) ** 2)
    hilum = np.clip(1 - away / np.float32(0.26), 0, 1)
    rows, columns = lung.shape
    # Coarse noise, enlarged: branches without drawing any.
    coarse = rng.standard_normal((max(2, rows // 5), max(2, columns // 5))).astype(np.float32)
    at_row = np.minimum(np.arange(rows) * coarse.shape[0] // rows, coarse.shape[0] - 1)
    at_column = np.minimum(np.arange(columns) * coarse.shape[1] // columns, coarse.shape[1] - 1)
    texture = coarse[at_row][:, at_column]
    texture = (texture + np.roll(texture, 2, 0) + np.roll(texture, 2, 1) + np.roll(texture, (2, 2), (0, 1))) / 4
    strength = np.clip(1 - away / np.float32(0.8), 0, 1) * np.float32(0.035)
    return np.asarray(lung * (hilum * np.float32(0.13) + texture * strength), dtype=np.float32)


def _bones(rng: np.random.Generator, chest: _Chest, beside: Floats, y: Floats, inner: Floats, height: float) -> Floats:
    """Ribs behind and in front, spine, windpipe, collar bones."""
    cage = _soft(inner + np.float32(0.035) - beside, 0.03) * _soft(y - np.float32(chest.apex + 0.02), 0.05)
    # Below the diaphragm the belly drowns them.
    cage = cage * (np.float32(0.25) + np.float32(0.75) * _soft(np.float32(chest.base) - y, 0.08))
    cage = cage * _soft(np.float32(chest.base + 0.18 * height) - y, 0.25)
    out = beside / np.float32(chest.half_width)
    pairs = np.float32(9.0 / height)
    # Ribs fall outwards, less so in small children; in front they fall inwards, steeper.
    fall = np.float32((0.30 - 0.17 * chest.child) * height)
    turn = np.float32(rng.uniform(0, 1))
    behind = (y - fall * out**2 + np.float32(0.08) * out) * pairs + turn
    front = (y + np.float32(1.35) * fall * out - np.float32(0.05)) * pairs * np.float32(0.8) + turn
    ribs = np.float32(0.085) * _band(behind, 0.40) * _soft(out - np.float32(0.12), 0.08)
    ribs += np.float32(0.045) * _band(front, 0.38) * _soft(out - np.float32(0.45), 0.25)
    # Seen edge on along the wall, ribs are brighter.
    ribs *= 1 + np.float32(0.9) * np.clip(out - np.float32(0.75), 0, 1)
    spine_half = np.float32(0.065 + 0.015 * chest.child)
    vertebrae = np.float32(0.7) + np.float32(0.3) * _band(y * np.float32(15 / (2 * height)), 0.72)
    spine = np.float32(0.10) * _soft(spine_half - beside, 0.025) * vertebrae
    windpipe = _soft(np.float32(0.030) - beside, 0.02) * _soft(np.float32(chest.apex + 0.36 * height) - y, 0.06)
    tilt = np.float32(0.16 + 0.10 * float(rng.uniform(-1, 1)))
    collar_y = np.float32(chest.apex + 0.11 * height) - tilt * (beside - np.float32(0.15))
    collar = _soft(np.float32(0.026) - np.abs(y - collar_y), 0.02) * _soft(beside - np.float32(0.11), 0.03)
    collar = collar * _soft(np.float32(0.78) - beside, 0.05)
    return np.asarray(ribs * cage + spine - np.float32(0.12) * windpipe + np.float32(0.10) * collar, dtype=np.float32)


def _band(phase: Floats, share: float) -> Floats:
    """A soft stripe once each whole number of `phase`, `share` of it wide."""
    within = np.abs(phase - np.rint(phase))
    return np.asarray(np.clip((np.float32(share / 2) - within) * 10 + np.float32(0.5), 0, 1), dtype=np.float32)


def _from_the_side(rng: np.random.Generator, chest: _Chest, rows: int, columns: int) -> Floats:
    """A lateral view, the patient looking to the left: breastbone in front, spine behind, heart on the diaphragm."""
    y, x = _grid(rows, columns)
    height = chest.base - chest.apex
    down = (y - np.float32(chest.apex)) / np.float32(height)
    # The breast bulges low, the back high; with raised arms there is little of a neck.
    front = np.float32(-0.50) - np.float32(0.22) * np.exp(-(((down - np.float32(0.62)) / np.float32(0.62)) ** 2))
    back = np.float32(0.50) + np.float32(0.26) * np.exp(-(((down - np.float32(0.36)) / np.float32(0.75)) ** 2))
    body = _soft(x - front, 0.05) * _soft(back - x, 0.05)
    belly = _soft(y - np.float32(chest.base), 0.3)
    picture = np.asarray(np.float32(0.03) + body * (np.float32(0.58) + np.float32(0.12) * belly), dtype=np.float32)
    # The raised arms, over the top of the lungs.
    picture += np.float32(0.12) * body * _soft(np.float32(0.05) - down - np.float32(0.25) * x, 0.25)

    dome = np.asarray(np.sin(np.pi / 2 * np.clip(down / 0.42, 0, 1) ** 0.6), dtype=np.float32)
    middle, half = (front + back) / 2 - np.float32(0.02), (back - front) / 2 - np.float32(0.11)
    inside = _soft(half * dome - np.abs(x - middle), 0.04) * _soft(down, 0.08)
    # Two domes that do not cover each other, high in front, deep behind.
    lower = np.float32(chest.base - 0.17 * height) + np.float32(0.34 * height) * ((x + np.float32(0.15)) / 0.75) ** 2
    lifted = lower - np.float32(height * rng.uniform(0.02, 0.06))
    air = inside * (_soft(lower - y, 0.025) + _soft(lifted - y, 0.025)) / 2

    wide, high = 0.52 * chest.ratio + 0.09, 0.27 * height
    heart = _soft(1 - _ellipse(x + 0.20, y - chest.base + 0.27 * height, wide, high, 0.6), 0.5)
    hila = np.clip(1 - _ellipse(x - 0.05, y - chest.apex - 0.45 * height, 0.17, 0.15 * height, 0.3), 0, 1)
    arch = np.abs(_ellipse(x - 0.12, y - chest.apex - 0.38 * height, 0.24, 0.17 * height, 0.0) - 1)
    arch = _soft(np.float32(0.35) - arch, 0.3) * _soft(np.float32(0.36) - down, 0.1) * np.float32(1 - chest.child)
    lung = air * (1 - np.float32(0.72) * heart)
    picture -= lung * np.float32(0.36)
    picture += air * (np.float32(0.11) * hila + np.float32(0.05) * arch)
    picture += _lung_markings(rng, chest, lung, np.abs(x - np.float32(0.05)), y, height)

    # The lower, the less shoulder lies before the spine: it grows darker downwards.
    spine_x = back - np.float32(0.17)
    discs = np.float32(0.65) + np.float32(0.35) * _band(y * np.float32(14 / (2 * height)), 0.75)
    spine = _soft(np.float32(0.085) - np.abs(x - spine_x), 0.04) * discs * body
    picture += spine * (np.float32(0.13) - np.float32(0.06) * np.clip(down, 0, 1))
    breastbone = _soft(np.float32(0.03) - np.abs(x - front - np.float32(0.085)), 0.03)
    picture += np.float32(0.12) * breastbone * _soft(np.float32(0.30) - np.abs(down - np.float32(0.40)), 0.1)
    windpipe_x = np.float32(0.06) + np.float32(0.10) * np.clip(down, 0, 1)
    windpipe = _soft(np.float32(0.035) - np.abs(x - windpipe_x), 0.03) * _soft(np.float32(0.36) - down, 0.06)
    picture -= np.float32(0.12) * windpipe * body
    # Ribs of both sides fall to the front, those nearer to the detector a little less.
    turn = np.float32(rng.uniform(0, 1))
    for fall, share in ((0.42, 0.26), (0.52, 0.20)):
        ribs = _band((y + np.float32(fall) * x - np.float32(0.15) * x**2) * np.float32(8.5 / height) + turn, share)
        picture += np.float32(0.035) * ribs * inside * (1 - np.float32(0.6) * belly)
    return np.asarray(picture, dtype=np.float32)


def _ellipse(x: Floats, y: Floats, wide: float, high: float, turn: float) -> Floats:
    """1 on an ellipse around the origin that is turned by some radians, less within."""
    along = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))
    across = y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))
    return np.asarray(np.sqrt((along / np.float32(wide)) ** 2 + (across / np.float32(high)) ** 2), dtype=np.float32)


def _expose(rng: np.random.Generator, picture: Floats, look: Look) -> float:
    """Contrast, brightness, noise and border, in place; returns the brightness that was added."""
    contrast = np.float32(look.contrast * (1 + rng.normal(0, look.spread)))
    brightness = float(look.brightness + rng.normal(0, look.spread))
    picture -= np.float32(0.45)
    picture *= contrast
    picture += np.float32(0.45 + brightness)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(look.noise)
    np.clip(picture, 0, 1, out=picture)
    if rng.random() < look.border:
        rows, columns = picture.shape
        top, side = (
            int(share * length) for share, length in zip(rng.uniform(0.01, 0.05, 2), (rows, columns), strict=True)
        )
        picture[:top] = picture[rows - top :] = 0
        picture[:, :side] = picture[:, columns - side :] = 0
    return brightness
