"""The generator behind the draws."""

from __future__ import annotations

from hashlib import sha256

import pytest

from cxrdata.splits.draws import uniform

_WORD = 2**64


def _philox(counter: int, key: int) -> list[int]:
    """One block of Philox4x64-10, from the constants of its paper (Salmon et al., SC 2011)."""
    words = [counter >> 64 * at & _WORD - 1 for at in range(4)]
    keys = [key % _WORD, key >> 64]
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * words[0], 0xCA5A826395121157 * words[2]
        words = [second >> 64 ^ words[1] ^ keys[0], second % _WORD, first >> 64 ^ words[3] ^ keys[1], first % _WORD]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) % _WORD, (keys[1] + 0xBB67AE8584CAA73B) % _WORD]
    return words


def test_the_oracle_itself() -> None:
    """The known answer of the authors' library Random123 for counter 0 and key 0."""
    assert _philox(0, 0) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]


@pytest.mark.parametrize("text", ["draw|0|chexpert|0", "draw|7|nih_cxr14|1|race Björn"])
def test_uniform_is_philox(text: str) -> None:
    key = int.from_bytes(sha256(text.encode()).digest()[:16])
    words = [word for counter in range(1, 4) for word in _philox(counter, key)]
    assert uniform(text, 10).tolist() == [(word >> 11) / 2**53 for word in words[:10]]


def test_uniform_by_value() -> None:
    assert uniform("draw|0|d|0", 3).tolist() == [0.6139022229521235, 0.16914281011968457, 0.4188839361082576]
