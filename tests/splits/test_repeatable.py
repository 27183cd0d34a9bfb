"""SQL that chance or the clock has a part in is refused: nobody could make the split again."""

from __future__ import annotations

import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.cohorts import check_repeatable


@pytest.mark.parametrize(
    "query",
    [
        "random() < 0.5",
        "RANDOM () < 0.5",
        "study_date < current_date",
        "FROM images USING SAMPLE 10",
        "FROM images TABLESAMPLE reservoir(10)",
        "uuid() > 'a'",
        "study_date < today()",
    ],
)
def test_chance_and_clock(query: str) -> None:
    with pytest.raises(CxrError, match="answers otherwise each time") as caught:
        check_repeatable(query, "--where")
    assert (caught.value.code, caught.value.where) == ("CXR-503", "--where")


@pytest.mark.parametrize(
    "query", ["view = 'random()'", "1 = 1 -- random()", "/* now() */ true", "randomised = 1", "known > 1"]
)
def test_words_alone(query: str) -> None:
    check_repeatable(query, "--where")
