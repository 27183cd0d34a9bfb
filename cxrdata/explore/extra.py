"""What an exploration needs beyond a core install."""

from __future__ import annotations

from importlib import import_module

from cxrdata.errors import CxrError

KOLMOGOROV_SMIRNOV, T_SNE = "scipy", "sklearn"
_WHAT = {KOLMOGOROV_SMIRNOV: "Kolmogorov-Smirnov tests need scipy", T_SNE: "t-SNE needs scikit-learn"}


def require_stats(*packages: str) -> None:
    """Raise CxrError CXR-604 where one of these packages of the extra `[stats]` is not installed."""
    for name in packages:
        try:
            import_module(name)
        except ImportError as error:
            raise CxrError("CXR-604", _WHAT[name], fix="pip install 'cxrdata[stats]'") from error
