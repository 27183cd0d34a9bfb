"""JSON lines as text."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.account import Account
from cxrdata.sources.jsonlines import read_json_lines

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, body: bytes) -> tuple[list[tuple[object, ...]], Account]:
    path.write_bytes(body)
    account = Account("chexpert")
    return read_json_lines(path, name="labels.json", account=account, columns=["key", "n"]).frame.rows(), account


@pytest.mark.parametrize(
    "body",
    [
        b'{"key":"a","n":1.0}\n{"n":null,"key":"b"}\n',
        b'{"key":"a","n":1.0}\n{"n":null,"key":"b"}',
        b'\xef\xbb\xbf{"key":"a","n":1.0}\r\n{"n":null,"key":"b"}\r\n',
        gzip.compress(b'{"key":"a","n":1.0}\n{"n":null,"key":"b"}\n', mtime=0),
    ],
)
def test_sound_lines(body: bytes, tmp_path: Path) -> None:
    """Keys in any order, with or without a last newline, CRLF, a byte order mark, gzip."""
    rows, account = read(tmp_path / "x", body)
    assert [row[0] for row in rows] == ["a", "b"]
    assert [float(str(row[1])) if row[1] else None for row in rows] == [1.0, None]
    assert [row[2:] for row in rows] == [(0, 1), (1, 2)]
    assert account.entry("labels.json").read == 2


def test_broken_lines_are_refused_one_by_one(tmp_path: Path) -> None:
    """CXR-210, CXR-204: what is no object is refused under its line, blank lines count for nothing, NaN is null."""
    body = b'{"key":"a","n":1}\n\n{"key":"b","n":NaN}\n[1]\n"s"\n{"key":\nnull\n{"key":"c"}{"key":"d"}\n{"key":"\xff"}\n{"key":"e","n":0}\n'
    rows, account = read(tmp_path / "x", body)
    assert rows == [("a", "1", 0, 1), ("b", None, 1, 3), ("e", "0", 8, 10)]
    assert account.rejects().select("code", "line").rows() == [
        *(("CXR-210", line) for line in (4, 5, 6, 7, 8)),
        ("CXR-204", 9),
    ]
    assert (account.entry("labels.json").read, account.entry("labels.json").rejected) == (9, 6)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "CXR-102"),
        (b"<html>login</html>", "CXR-103"),
        (b'{"key":"a"}\n', "CXR-107"),
        (b'[{"key":"a","n":1}]\n', "CXR-111"),
    ],
)
def test_files_that_cannot_be_read(body: bytes, code: str, tmp_path: Path) -> None:
    """docs/errors.md: empty, a web page, a key missing, an array in place of lines."""
    with pytest.raises(CxrError) as caught:
        read(tmp_path / "x", body)
    assert caught.value.code == code
