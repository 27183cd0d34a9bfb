"""Shares of the splits, and whole numbers that follow them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cxrdata.errors import CxrError

SPLITS = ("train", "valid", "test")
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Ratios:
    """Names of the splits and the share of each; the shares sum to 1."""

    names: tuple[str, ...]
    shares: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Ratios:
        """From `0.6,0.1,0.3` (train, valid, test) or `0.8,0.2` (train, test).

        Raises CxrError CXR-502 for anything but two or three positive numbers that sum to 1.
        """
        fix = "give train,valid,test or train,test, for example --ratios 0.6,0.1,0.3"
        try:
            shares = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise CxrError("CXR-502", f"the ratios {text!r} are not numbers separated by commas", fix=fix) from None
        if len(shares) not in (2, 3):
            raise CxrError("CXR-502", f"{len(shares)} ratios were given", fix=fix)
        if not all(math.isfinite(share) and share > 0 for share in shares):
            raise CxrError("CXR-502", f"each ratio must be above 0, got {text}", fix=fix)
        if abs(sum(shares) - 1) > _TOLERANCE:
            raise CxrError("CXR-502", f"the ratios {text} sum to {sum(shares):g}, not to 1", fix=fix)
        return cls(SPLITS if len(shares) == len(SPLITS) else ("train", "test"), shares)

    def __str__(self) -> str:
        return ",".join(f"{share:g}" for share in self.shares)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper ends of the splits on [0, 1): a fraction below the first and not of an earlier one belongs to it."""
        ends = [math.fsum(self.shares[: at + 1]) for at in range(len(self.shares))]
        return (*ends[:-1], 1.0)

    def without(self, names: list[str]) -> Ratios:
        """The same proportions among the other splits."""
        rest = [(name, share) for name, share in zip(self.names, self.shares, strict=True) if name not in names]
        total = math.fsum(share for _, share in rest)
        return Ratios(tuple(name for name, _ in rest), tuple(share / total for _, share in rest))

    def quotas(self, total: int) -> tuple[int, ...]:
        """Whole numbers that sum to `total` and follow the shares: largest remainders first, ties to the earlier split."""
        exact = [share * total / math.fsum(self.shares) for share in self.shares]
        whole = [math.floor(value + 1e-9) for value in exact]
        order = sorted(range(len(whole)), key=lambda at: (-(exact[at] - whole[at]), at))
        for at in order[: total - sum(whole)]:
            whole[at] += 1
        return tuple(whole)
