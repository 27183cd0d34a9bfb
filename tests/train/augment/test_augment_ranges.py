"""Values of [augment] that mean nothing are refused where they are read, not where they would first be drawn."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from cxrdata.errors import CxrError
from cxrtrain.config import AugmentConfig
from cxrtrain.config_file import _ENDS, experiment_of


def read(**augment: Any) -> AugmentConfig:
    heads = [{"name": "disease", "kind": "binary", "finding": "cardiomegaly"}]
    return experiment_of({"name": "x", "heads": heads, "augment": augment}, where="x.toml").augment


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("flip_p", 1.5, "from 0 to 1"),
        ("blur_p", -0.1, "from 0 to 1"),
        ("histogram_blend", 2.0, "from 0 to 1"),
        ("zoom", [0.0, 1.0], "from 0.05 to 20, the lower first"),
        ("zoom", [1.1, 0.9], "from 0.05 to 20, the lower first"),
        ("crop", [0.3, 1.2], "from 0.01 to 1, the lower first"),
        ("zoom_out", [0.5, 1.0], "from 1 to 20, the lower first"),
        ("rotate_degrees", -15, "from 0 to 180"),
        ("translate", float("nan"), "from 0 to 1"),
    ],
)
def test_refused(key: str, value: Any, fix: str) -> None:
    with pytest.raises(CxrError, match=f"augment.{key} cannot be") as caught:
        read(**{key: value})
    assert (caught.value.code, caught.value.where, caught.value.fix) == ("CXR-505", "x.toml", fix)


def test_every_key_has_its_ends_and_both_are_taken() -> None:
    assert set(_ENDS) == {one.name for one in fields(AugmentConfig)} - {"histogram_images"}
    for key, (low, high) in _ENDS.items():
        pair = isinstance(getattr(AugmentConfig(), key), tuple)
        assert getattr(read(**{key: [low, high] if pair else high}), key) == ((low, high) if pair else high)
