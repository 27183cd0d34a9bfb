"""The examples of the documentation are run as a reader would run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.examples import Example, commands, rewritten, run_session

PAGE = """# A page

```console
$ echo "one
> two" | tail -1
stale
$ sh -c 'exit 1'
```

```pycon
>>> x = 1
>>> for i in (x, 2):
...     print(i)
stale
>>> x + 1
```

```sh
not run
```
"""


def test_commands_of_a_block() -> None:
    body = '$ echo "a\n> b" c\nprinted\n> printed too\n$ true\n'
    assert list(commands(body)) == [Example('echo "a\nb" c', "printed\n> printed too\n"), Example("true", "")]
    assert next(commands(body)).written == '$ echo "a\n> b" c\n'


def test_a_page_shows_what_is_printed(tmp_path: Path) -> None:
    shown = rewritten(PAGE, tmp_path, with_real_data=False)
    assert '> two" | tail -1\ntwo\n$ sh' in shown
    assert "$ sh -c 'exit 1'\n(exit code 1)\n```" in shown
    assert "...     print(i)\n1\n2\n>>> x + 1\n2\n```" in shown
    assert shown.endswith("```sh\nnot run\n```\n")
    assert rewritten(shown, tmp_path, with_real_data=False) == shown


def test_examples_that_do_not_work_are_no_documentation(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="does not work: sh -c 'exit 2'"):
        rewritten("```console\n$ sh -c 'exit 2'\n```", tmp_path, with_real_data=False)
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        run_session(">>> 1 / 0\n", tmp_path)


def test_what_needs_the_real_data_is_left_alone_without_them(tmp_path: Path) -> None:
    page = "```console\n$ cat nih/x\nas it was\n```"
    assert rewritten(page, tmp_path, with_real_data=False) == page
