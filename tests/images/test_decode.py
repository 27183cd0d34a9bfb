"""Decoding: every kind of file to the grey it stands for, and every broken one refused with its code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey, decode
from cxrdata.images.examine import examine
from cxrdata.images.resize import Frame
from cxrdata.images.sources import ImageFile
from cxrdata.schemas.registered import TRUNCATED

Encode = Callable[..., bytes]


def refused(data: bytes) -> str:
    with pytest.raises(CxrError) as error:
        decode(data)
    return error.value.code


def test_grey_png_is_as_it_was(chest: Grey, encoded: Encode) -> None:
    found = decode(encoded(chest))
    assert np.array_equal(found.pixels, chest)
    assert (found.facts.kind, found.facts.mode, found.facts.rows, found.facts.columns) == ("PNG", "L", 300, 240)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_other_modes_of_the_same_grey_are_the_same(mode: str, chest: Grey, encoded: Encode) -> None:
    found = decode(encoded(Image.fromarray(chest).convert(mode)))
    assert np.array_equal(found.pixels, chest)
    assert found.facts.mode == mode


def test_alpha_is_ignored(chest: Grey, encoded: Encode) -> None:
    picture = Image.fromarray(chest).convert("RGBA")
    picture.putalpha(Image.fromarray(chest[::-1].copy()))
    assert np.array_equal(decode(encoded(picture)).pixels, chest)


def test_sixteen_bits_use_the_whole_range(encoded: Encode) -> None:
    values = np.array([[0, 128, 129, 257, 32_768, 65_406, 65_407, 65_535]], dtype=np.uint16)
    found = decode(encoded(values))
    assert found.pixels.tolist() == [[0, 0, 1, 1, 128, 254, 255, 255]]
    assert found.facts.bits == 16


def test_one_bit(encoded: Encode) -> None:
    found = decode(encoded(Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).convert("1")))
    assert found.pixels.tolist() == [[0, 255], [255, 0]]


def test_jpeg_is_decoded_no_larger_than_needed(chest: Grey, encoded: Encode) -> None:
    large = encoded(Image.fromarray(chest).resize((1920, 2400)), "JPEG", quality=95)
    whole = decode(large)
    assert whole.pixels.shape == (2400, 1920)
    less = decode(large, needed=Frame(224).scaled)
    assert less.pixels.shape == (300, 240)  # an eighth, the least that is at least 224
    assert (less.facts.rows, less.facts.columns) == (2400, 1920)
    assert decode(large, needed=Frame(301, "crop").scaled).pixels.shape == (600, 480)


def test_colour_jpeg_is_its_luma(chest: Grey, encoded: Encode) -> None:
    grey, colour = (encoded(Image.fromarray(chest).convert(mode), "JPEG", quality=95) for mode in ("L", "RGB"))
    one, other = (decode(data).pixels.astype(int) for data in (grey, colour))
    assert np.abs(one - other).max() <= 1


def test_all_real_images_are_read_and_the_rgba_ones_known(real_images: list[Path]) -> None:
    facts = {path.name: decode(path.read_bytes()) for path in real_images}
    assert len(facts) == 36
    assert all(found.pixels.shape == (1024, 1024) and found.pixels.std() > 10 for found in facts.values())
    rgba = [name for name, found in facts.items() if found.facts.mode == "RGBA"]
    assert len(rgba) == 3
    for path in real_images:
        if path.name in rgba:  # their grey is that of their first channel
            assert np.array_equal(facts[path.name].pixels, np.asarray(Image.open(path))[:, :, 0])


def declared(columns: int, rows: int) -> bytes:
    """A PNG that declares a size and has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_what_it_declares() -> None:
    assert refused(declared(100_000, 100_000)) == "CXR-142"
    assert refused(declared(0, 10)) == "CXR-146"


def test_a_jpeg_bomb_is_refused(chest: Grey, encoded: Encode) -> None:
    data = bytearray(encoded(chest, "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    assert refused(bytes(data)) == "CXR-142"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_files_cut_short(kind: str, share: float, chest: Grey, encoded: Encode) -> None:
    data = encoded(chest, kind)
    assert refused(data[: int(share * len(data))]) == "CXR-141"


def test_an_empty_file_is_cut_short_to_build_and_check_alike(tmp_path: Path) -> None:
    assert refused(b"") == "CXR-141"
    path = tmp_path / "empty.png"
    path.touch()
    for quick in (False, True):
        found = examine(ImageFile("nih_cxr14", path.name, path), with_hash=False, quick=quick)
        assert found.pop("file_mtime_ns") == path.stat().st_mtime_ns
        assert found == {"file_bytes": 0, "status": TRUNCATED, "message": "CXR-141: the file is empty"}


def test_a_flipped_byte_is_no_picture(chest: Grey, encoded: Encode) -> None:
    data = bytearray(encoded(chest))
    data[len(data) // 2] ^= 0xFF
    assert refused(bytes(data)) in ("CXR-141", "CXR-146")


@pytest.mark.parametrize(
    "data", [b"<!DOCTYPE html><html>login</html>", b"version https://git-lfs", b"GIF89a" + bytes(300)]
)
def test_other_files(data: bytes) -> None:
    assert refused(data) == "CXR-140"


def test_the_reason_names_a_login_page() -> None:
    with pytest.raises(CxrError, match="web page"):
        decode(b"<html><body>please log in</body></html>")
