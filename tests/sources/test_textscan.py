"""Where records begin, how many fields they have: the scan against the csv module."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from text_tables import Written, reference, tables

from cxrdata.errors import CxrError
from cxrdata.sources.textscan import Structure, count_fields, normalise_newlines, scan


def scanned(body: bytes) -> Structure:
    return scan(normalise_newlines(body), where="file.csv")


def check(written: Written) -> None:
    body = normalise_newlines(written.text.encode())
    structure = scan(body, where="file.csv")
    expected = reference(written.text)
    assert structure.lines.tolist() == [line for line, _ in expected]
    assert structure.fields.tolist() == [len(cells) for _, cells in expected]
    assert not structure.stray.any()
    spans = [body[a:b].decode() for a, b in zip(structure.starts, structure.ends, strict=True)]
    assert [reference(span)[0][1] for span in spans] == [cells for _, cells in expected]


@given(tables())
@settings(max_examples=300, deadline=None)
def test_structure_is_that_of_the_csv_module(written: Written) -> None:
    check(written)


@pytest.mark.soak
@given(tables())
@settings(max_examples=20_000, deadline=None)
def test_structure_is_that_of_the_csv_module_at_length(written: Written) -> None:
    check(written)


@given(tables(at_least=2))
@settings(max_examples=200, deadline=None)
def test_the_slow_way_agrees_with_the_fast_one(written: Written) -> None:
    """A record with a stray quote sends the whole file the slow way; all others must read as before."""
    whole = scanned(written.text.encode())
    broken = scanned(written.text.encode() + b'\nsize 4" film\n')
    assert broken.stray.tolist() == [False] * len(whole) + [True]
    for part in ("starts", "ends", "fields", "lines"):
        assert getattr(broken, part)[:-1].tolist() == getattr(whole, part).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\r\nb\r\n", b"a\nb\n"), ("a\rb", b"a\nb"), ("a\r\r\nb\n", b"a\n\nb\n"), ("a\nb", b"a\nb")],
)
def test_newlines(text: str, expected: bytes) -> None:
    assert normalise_newlines(text.encode()) == expected


@pytest.mark.parametrize(
    "record",
    ['a"b,c', '"a"b,c', 'a,"b" ', 'a, "b"', 'a,b"', 'a""b,c', '"a""b"c,d', '"a"",b'],
)
def test_a_stray_quote_is_one_records_fault(record: str) -> None:
    """RFC 4180: quotes enclose a whole field or none of it. The records around it run over two lines."""
    body = f'h1,h2\n"x\ny",1\n{record}\n"x\ny",2\n'.encode()
    structure = scanned(body)
    assert structure.stray.tolist() == [False, False, True, False]
    assert structure.lines.tolist() == [1, 2, 4, 5]
    assert structure.fields.tolist() == [2, 2, 0, 2]


@pytest.mark.parametrize("text", ['a,b\n1,"open\n2,3\n', '"', 'a,b\n"x",1\n2,"y""\n3,z\n'])
def test_a_quote_that_never_closes(text: str) -> None:
    """Nothing after such a quote can be trusted (CXR-106); the line is where it opens."""
    with pytest.raises(CxrError) as caught:
        scanned(text.encode())
    lines = text[: text.rindex('"')].count("\n") + 1
    assert (caught.value.code, caught.value.where) == ("CXR-106", f"file.csv:{lines}")


def test_nothing_but_blank_lines() -> None:
    assert len(scanned(b"")) == 0
    assert len(scanned(b"\n\r\n\n")) == 0


@pytest.mark.parametrize(("record", "fields"), [(b"", 1), (b"a,b", 2), (b'"a,b",c', 2), (b'"a"",b",,', 3)])
def test_count_fields(record: bytes, fields: int) -> None:
    assert count_fields(record) == fields
