"""A label policy as commands name it: one for all labels, or a file that has one by label, ours or a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError, nearest
from cxrdata.resources import data_folder
from cxrdata.store.label_frames import POLICIES
from cxrdata.tomlfile import read_toml

FOLDER = "policies"  # of `metadata/`
DEFAULT = "default"  # in a file: the policy of all labels that it does not name


def read_policy(said: str) -> str | dict[str, str]:
    """`raw`, `zeros`, `ones`, `ignore` as it is; as label -> policy a file that ships (`metadata/policies/`), by its name, or
    a TOML file of lines such as `edema = "ones"`.

    What holds for labels that a file does not name, if it has no `default`, is the caller's business.
    Raises CxrError: CXR-513 no such policy or file, an empty file, or one that says something else.
    """
    if said in POLICIES:
        return said
    ours = {path.stem: path for path in sorted((data_folder("metadata") / FOLDER).glob("*.toml"))}
    path = ours.get(said, Path(said))
    if not path.is_file():
        known = [*POLICIES, *ours]
        raise CxrError(
            "CXR-513",
            f"there is no policy and no file {said!r}{nearest(said, known)}",
            fix=f'use {", ".join(known)}, or a TOML file with lines such as edema = "ones"',
        )
    content, _ = read_toml(path)
    if not content:
        raise CxrError(
            "CXR-513",
            "the policy file says nothing",
            where=path.name,
            fix=f'write lines such as {DEFAULT} = "zeros" and edema = "ones"; or name one of {", ".join(POLICIES)}',
        )
    return checked_policies(content, path.name)


def policy_of(said: str, label: str, otherwise: str) -> str:
    """The policy of one label; `otherwise` where a file says nothing of it. Raises CxrError as `read_policy` does."""
    found = read_policy(said)
    return found if isinstance(found, str) else found.get(label, found.get(DEFAULT, otherwise))


def checked_policies(content: dict[str, Any], where: str) -> dict[str, str]:
    """The same if every value is a policy. Raises CxrError CXR-513."""
    for name, policy in content.items():
        if policy not in list(POLICIES):  # a list, since TOML may hold what cannot be hashed
            raise CxrError(
                "CXR-513",
                f"{policy!r} is no policy{nearest(str(policy), list(POLICIES))}",
                where=f"{where}: {name}",
                fix=f"use {', '.join(POLICIES)}",
            )
    return content
