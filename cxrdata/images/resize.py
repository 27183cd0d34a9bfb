"""Any frame to one size, antialiased.

Resized with a triangle as wide as two pixels of the result (Pillow's BILINEAR, the same as torch's `antialias=True`):
each pixel of the file counts, weighted by its distance. Against the sum in 64-bit floats it is right within one grey
level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey, ImageFacts, decode_picture

if TYPE_CHECKING:
    from PIL import Image

FITS = ("squash", "pad", "crop")
MOST_SIDE = 8192
_BANDS = 4


@dataclass(frozen=True)
class Frame:
    """The square that images are brought to.

    `fit`: `squash` fills it without keeping the aspect (as chexploration does), `pad` keeps all and the aspect
    (black beside), `crop` keeps the aspect and the centre. Raises CxrError CXR-502 for others.
    `exact`: a JPEG is decoded whole, as every other file is, before it is made smaller; else at a half, a quarter or an
    eighth where that is no smaller than the frame, which is faster.
    """

    side: int
    fit: str = "squash"
    exact: bool = False

    def __post_init__(self) -> None:
        if self.fit not in FITS or not 1 <= self.side <= MOST_SIDE:
            raise CxrError(
                "CXR-502",
                f"images cannot be brought to side {self.side} by {self.fit!r}",
                fix=f"--size 1 to {MOST_SIDE}, --fit {'|'.join(FITS)}",
            )

    def scaled(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of the whole picture after scaling."""
        if self.fit == "squash":
            return self.side, self.side
        longest = min(rows, columns) if self.fit == "crop" else max(rows, columns)
        return (max(1, round(rows * self.side / longest)), max(1, round(columns * self.side / longest)))

    def place(self, picture: Image.Image) -> Image.Image:
        """A picture of mode `L` in this frame."""
        from PIL import Image

        rows, columns = self.scaled(picture.height, picture.width)
        scaled = _scaled(picture, rows, columns)
        if (rows, columns) == (self.side, self.side):
            return scaled
        # Pasted at the centre of a black square; what is beyond its edges falls away.
        square = Image.new("L", (self.side, self.side))
        square.paste(scaled, ((self.side - columns) // 2, (self.side - rows) // 2))
        return square


def _scaled(picture: Image.Image, rows: int, columns: int) -> Image.Image:
    """A grey picture at another size.

    Most of the work is the first pass, which Pillow does along the rows, a value at a time. Down the columns, with four
    columns taken for the four bands of one pixel, it takes half as long: a tenth of the time of a PNG of 1024 by 1024.
    """
    from PIL import Image

    width, height = picture.size
    if rows < height and width % _BANDS == 0:
        # CMYK, since Pillow would multiply the bands of RGBA by the fourth.
        banded = Image.frombuffer("CMYK", (width // _BANDS, height), picture.tobytes(), "raw", "CMYK", 0, 1)
        lower = banded.resize((width // _BANDS, rows), Image.Resampling.BILINEAR)
        picture = Image.frombuffer("L", (width, rows), lower.tobytes(), "raw", "L", 0, 1)
    return picture.resize((columns, rows), Image.Resampling.BILINEAR)


def resize(pixels: Grey, frame: Frame) -> Grey:
    """An 8-bit grey image of shape (rows, columns) in a frame: shape (side, side)."""
    from PIL import Image

    return np.asarray(frame.place(Image.fromarray(pixels)))


def decode_into(data: bytes, frame: Frame, out: Grey) -> ImageFacts:
    """Decode a file's bytes into `out`, shape (side, side). Raises as `decode` does; `out` is then as it was."""
    picture, facts = decode_picture(data, None if frame.exact else frame.scaled)
    out[:] = np.asarray(frame.place(picture))
    return facts
