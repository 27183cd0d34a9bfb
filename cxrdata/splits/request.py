"""What a split is asked to be: the arguments of `cxrdata split`, as data that a manifest and a recipe can hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.ratios import Ratios
from cxrdata.store.label_frames import POLICIES
from cxrdata.store.policies import policy_of

DEFAULT_RATIOS = "0.7,0.1,0.2"
MODES = ("downsample", "weights", "resample")
KEEPS = ("hash", "first", "frontal", "labelled")
UNITS = ("image", "patient")
CHILDREN = ("certain", "possible")
VALIDS = ("correlated", "balanced")
POLICY = "ignore"
PUBLISHED_POLICY = "dne"  # of `metadata/policies/`: how the published sets with a spurious correlation read labels


@dataclass(frozen=True, kw_only=True)
class SplitRequest:
    """All that a split depends on beside the catalog. Tuples of names; every default is the command's.

    cohort: the name of one that ships, or None; `cohort_text`: the text of a user's own file. ratios: as `--ratios`.
    subgroup: `column=value` that train and validation are restricted to. unit: what `balance` and `exact` count
    (None: images for balance, patients for exact). folds: None or the number of folds outside the test.
    policy: how labels are read where they are attributes; None: ignore, and of `spurious` as published; a policy that is a
    file's becomes the one that it has for the finding. finding: the case study's.
    spurious, attribute: the finding and what is to go with it; correlation, train_images, per_cell, valid: see
    `splits.spurious.Design`.
    """

    cohort: str | None = None
    cohort_text: str | None = None
    where: str | None = None
    datasets: tuple[str, ...] = ()
    ratios: str = DEFAULT_RATIOS
    seed: int = 0
    exact: bool = False
    stratify: tuple[str, ...] = ()
    official: bool = False
    folds: int | None = None
    subgroup: tuple[str, ...] = ()
    max_images_per_patient: int | None = None
    min_images_per_patient: int | None = None
    keep: str = "hash"
    only_existing: bool = False
    balance: tuple[str, ...] = ()
    mode: str = "downsample"
    unit: str | None = None
    groups: tuple[str, ...] = ()
    pool: bool = False
    policy: str | None = None
    pediatric_vs_adult: bool = False
    finding: str = "cardiomegaly"
    match: tuple[str, ...] = ()
    children: str = "certain"
    spurious: str | None = None
    attribute: str | None = None
    correlation: float = 0.9
    train_images: int | None = None
    per_cell: int = 200
    valid: str = "correlated"

    def __post_init__(self) -> None:
        for one in fields(self):
            if isinstance(one.default, tuple):  # from Python, one name and a list of names are understood too
                given = getattr(self, one.name)
                object.__setattr__(self, one.name, (given,) if isinstance(given, str) else tuple(given))
        if not isinstance(self.ratios, str):
            object.__setattr__(self, "ratios", ",".join(f"{share:g}" for share in self.ratios))
        for name, value, known in (
            ("mode", self.mode, MODES),
            ("keep", self.keep, KEEPS),
            ("children", self.children, CHILDREN),
            ("valid", self.valid, VALIDS),
        ):
            _one_of(name, value, known)
        if self.unit is not None:
            _one_of("unit", self.unit, UNITS)
        self._check_together()
        if self.spurious is None:
            _one_of("policy", self.label_policy, tuple(POLICIES))
        else:
            word = policy_of(self.policy or PUBLISHED_POLICY, self.spurious, POLICY)
            object.__setattr__(self, "policy", word)  # so that a manifest says it, whatever the file says one day

    @property
    def label_policy(self) -> str:
        """The policy, said or not."""
        return self.policy or POLICY

    def _check_together(self) -> None:
        """Raise CxrError CXR-502 for arguments that exclude each other."""
        designs = [
            ("--balance", bool(self.balance)),
            ("--official", self.official),
            ("--pediatric-vs-adult", self.pediatric_vs_adult),
            ("--spurious", self.spurious is not None),
        ]
        chosen = [name for name, is_chosen in designs if is_chosen]
        if len(chosen) > 1:
            raise CxrError(
                "CXR-502", f"{' and '.join(chosen)} are different designs", fix="make two splits, one with each"
            )
        if self.cohort and self.cohort_text:
            raise CxrError("CXR-502", "a cohort is given by name and by text", fix="give one of them")
        if chosen and (self.exact or self.stratify):
            raise CxrError(
                "CXR-502",
                f"--exact and --stratify do not go with {chosen[0]}, which fills quotas of its own",
                fix="leave them out",
            )
        if (self.groups or self.pool or self.mode != MODES[0]) and not self.balance:
            raise CxrError(
                "CXR-502",
                "--groups, --pool and --mode say how to balance, and nothing is balanced",
                fix="add --balance race",
            )
        if (self.match or self.children != CHILDREN[0]) and not self.pediatric_vs_adult:
            raise CxrError(
                "CXR-502", "--match and --children belong to --pediatric-vs-adult", fix="add --pediatric-vs-adult"
            )
        if self.folds is not None and (self.balance or self.pediatric_vs_adult or self.spurious):
            raise CxrError("CXR-502", f"--folds does not go with {chosen[0]}", fix="leave one of them out")
        if self.pediatric_vs_adult and (self.max_images_per_patient or self.subgroup):
            raise CxrError(
                "CXR-502",
                "--pediatric-vs-adult takes one image a patient and a train set of adults by itself",
                fix="leave the other options out",
            )
        self._check_spurious_together()
        for problem, fix in self._without_effect():
            raise CxrError("CXR-502", problem, fix=fix)
        self.parsed_ratios()

    def _without_effect(self) -> Iterator[tuple[str, str]]:
        """Wishes that would change nothing: what is wrong, and what to do. Better refused than believed."""
        if self.balance and self.subgroup:
            problem = "--subgroup leaves images out after --balance has made the cells equal, so that they would not be"
            yield problem, "restrict everything with --where, or make the balanced split without --subgroup"
        if self.keep != KEEPS[0] and self.max_images_per_patient is None:
            yield "--keep says which images of a patient are kept, and all are", "add --max-images-per-patient K"
        if self.unit is not None and not (self.balance or self.exact or self.stratify):
            yield "--unit says what quotas count, and there are none", "add --exact, --stratify or --balance"
        if self.pediatric_vs_adult and self.ratios != DEFAULT_RATIOS:
            yield "--pediatric-vs-adult has parts of its own, 10 % tests and 75 : 25", "leave --ratios out"
        for one in ("correlation", "train_images", "per_cell", "valid"):
            if self.spurious is None and getattr(self, one) != type(self).__dataclass_fields__[one].default:
                yield f"--{one.replace('_', '-')} belongs to --spurious", "add --spurious pleural_effusion --with sex"
        if self.spurious and self.ratios != DEFAULT_RATIOS:
            yield (
                "--spurious has a test of so many images a cell, and an eighth of the other patients validates",
                "leave --ratios out",
            )
        if self.spurious and self.subgroup:
            yield "--subgroup would leave nothing of one value of the attribute", "restrict everything with --where"

    def _check_spurious_together(self) -> None:
        """Raise CxrError CXR-502 for a spurious correlation that is half asked for, or cannot be."""
        if (self.spurious is None) != (self.attribute is None):
            problem = "--spurious FINDING and --with ATTRIBUTE say together what is to go with what"
            raise CxrError("CXR-502", problem, fix="--spurious pleural_effusion --with sex")
        if self.spurious is None:
            return
        if not 0 <= self.correlation <= 1:
            problem = f"--correlation is the share of the positives that have the attribute's first value, got {self.correlation:g}"
            raise CxrError("CXR-502", problem, fix="give 0 to 1; 0.5 is none")
        if self.per_cell < 1:
            raise CxrError("CXR-502", f"a test of {self.per_cell} images a cell is none", fix="--per-cell 200")
        if self.train_images is not None and (self.train_images < 2 or self.train_images % 2):
            problem = f"--train-images {self.train_images}: half of them are positive, so the number must be even"
            raise CxrError("CXR-502", problem, fix="--train-images 11000")

    def parsed_ratios(self) -> Ratios:
        """The ratios. Raises CxrError CXR-502 where they are none."""
        return Ratios.parse(self.ratios)

    def arguments(self) -> dict[str, Any]:
        """Every wish that is not the default, and the seed, as JSON can hold it."""
        wishes = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name == "seed" or getattr(self, one.name) != one.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in wishes.items()}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """The request of a manifest or recipe. Raises CxrError CXR-502 for arguments that this version does not know."""
        known = [one.name for one in fields(cls)]
        for name in arguments:
            if name not in known:
                raise CxrError(
                    "CXR-502",
                    f"the split has an argument {name!r} that this version of cxrdata does not know{nearest(name, known)}",
                    fix="use the version that the manifest names",
                )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()
        }
        return cls(**values)

    def default_name(self) -> str:
        """What the split is called where nobody names it."""
        if self.balance:
            return "-".join(part.replace(":", "-").replace("_", "-") for part in self.balance) + "-balanced"
        if self.pediatric_vs_adult:
            return "pediatric-vs-adult"
        if self.spurious and self.attribute:
            return re.sub(r"[^a-z0-9]+", "-", f"{self.spurious}-with-{self.attribute}".lower()).strip("-")
        if self.cohort:
            return self.cohort.replace("_", "-")
        return "official" if self.official else "-".join(self.datasets).replace("_", "-") or "all"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise CxrError(
            "CXR-502", f"there is no {name} {value!r}{nearest(value, list(known))}", fix=f"known: {', '.join(known)}"
        )
