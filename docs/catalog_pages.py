"""The generated pages that tell what stands in catalog/, metadata/ and sql/: terms, findings, cohorts."""

from __future__ import annotations

from typing import Any

from cxrdata.cite import dataset_bibtex
from cxrdata.sources.base import Registry, Source
from cxrdata.splits.cohorts import Cohort, load_cohort, shipped_cohorts
from cxrdata.store.terms import dataset_terms
from cxrdata.vocabularies import Vocabularies

NOTE = "<!-- Written by `make docs`; edit the code, not this page. -->\n"
_TERMS_HEAD = """What each dataset's terms allow, as far as this project read them, taken from `catalog/*.toml`. **This is not legal
advice**: the agreement that you signed or accepted is what binds you, and agreements change. A catalog holds rows of
the datasets, so it may go no further than the rows themselves: each repeats the terms of what is in it, in
`DATA_TERMS.md`. Where rows may not be shared, a [recipe](splits.md#sharing-without-data) may; `cxrdata cite` prints
what to cite for the build or split that you used. What `cxrdata synth` writes comes from random numbers: no dataset's
terms apply to it.

"Third-party services" are those that see what you send them, such as hosted language models and notebooks.
"""
_COHORTS_HEAD = """The cohorts that ship, step by step, with the images that the publication counted where it says so. `cxrdata cohort show
NAME` prints the SQL, `cxrdata cohort funnel NAME` counts your own catalog beside the published numbers,
`cxrdata split --cohort NAME` splits it. How to write your own: [Cohorts](splits.md#cohorts).
"""
_FINDINGS_HEAD = """The findings that the datasets' own labels are mapped to (`metadata/findings.toml`), and how the same word differs between
them. The map itself is the relation [`label_map`](tables.md#label_map); what an empty cell means is
[a page of its own](tasks/blanks.md).
"""


def terms_page() -> str:
    """The terms of every dataset that can be ingested."""
    sources = list(Registry())
    parts = ["# Terms of the datasets\n", NOTE, _TERMS_HEAD]
    parts.append("| dataset | licence | rows may be shared | third-party services |\n|---|---|---|---|")
    parts += [_terms_row(source) for source in sources]
    parts.append("")
    for source in sources:
        row = {"dataset": source.name, "title": source.title, **{k: source.entry.get(k) for k in ("homepage", "doi")}}
        parts.append(dataset_terms(source))
        parts.append(f"How to get it: {source.entry['obtain']}\n")
        parts.append(f"```bibtex\n{dataset_bibtex(row, source.entry)}\n```\n")
    return "\n".join(parts)


def _terms_row(source: Source) -> str:
    licence = source.entry["licence"]
    may = {True: "yes", False: "no"}
    return f"| {source.title} | {licence['name']} | {may[licence['share_rows']]} | {may[licence['third_parties']]} |"


def findings_page() -> str:
    """Every canonical finding with its definition, its parents, and how the datasets differ."""
    vocabularies = Vocabularies.load()
    parents: dict[str, list[str]] = {}
    for child, parent in vocabularies.finding_tree.select("child", "parent").iter_rows():
        parents.setdefault(child, []).append(f"[`{parent}`](#{parent})")
    parts = ["# Findings\n", NOTE, _FINDINGS_HEAD]
    for finding in vocabularies.findings.iter_rows(named=True):
        parts += _finding(finding, parents.get(finding["finding"], []))
    return "\n".join(parts)


def _finding(finding: dict[str, Any], parents: list[str]) -> list[str]:
    kind_of = f" In `image_labels_rolled` a positive makes {' and '.join(parents)} positive too." if parents else ""
    return [
        f"## `{finding['finding']}`\n",
        f"**{finding['title']}.** {finding['definition'].strip()}{kind_of}\n",
        "\n\n".join(finding["differs"].strip().splitlines()) + "\n",
    ]


def cohorts_page() -> str:
    """Every cohort that ships: what it is, where it was published, its steps and published counts."""
    parts = ["# Published cohorts\n", NOTE, _COHORTS_HEAD]
    for name in shipped_cohorts():
        parts += _cohort(load_cohort(name))
    return "\n".join(parts)


def _cohort(cohort: Cohort) -> list[str]:
    lines = [f"## `{cohort.name}`\n", f"{cohort.about}\n"]
    if cohort.source:
        lines.append(f"Source: {cohort.source}\n")
    if cohort.caveats:
        lines.append(f"{cohort.caveats.strip()}\n")
    lines.append("| step | images published |\n|---|---|")
    lines += [f"| {step.name} | {'' if step.expected is None else f'{step.expected:,}'} |" for step in cohort.steps]
    return [*lines, ""]
