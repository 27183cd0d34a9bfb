"""The findings about a file as one page of plain text, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from cxrdata.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 80
_INDENT = " " * 10
_MOST_SHOWN = 8
_MOST_ADDED = 12
_KINDS = (("ages", "AGES"), ("sexes", "SEXES"), ("views", "VIEWS"))


def page(summary: dict[str, Any]) -> str:
    """The page of an annotation's summary."""
    sections = (_head, _images, _split, _shared, _children, _compared, _labels, _not_checked, _added)
    return "\n".join(line for section in sections for line in section(summary)) + "\n"


def _line(title: str, text: str) -> Iterator[str]:
    """A line under a title in capitals, wrapped and indented; long words are cut rather than run over the edge."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=title.ljust(len(_INDENT)),
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )


def _more(text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=_INDENT + "  ", subsequent_indent=_INDENT + "    ", break_on_hyphens=False
    )


def _head(summary: dict[str, Any]) -> Iterator[str]:
    key = summary["key"]
    yield from _line("FILE", f"{summary['file'] or 'frame'}: {counted(summary['rows'], 'row')}")
    yield from _line("KEY", f"column {key['column']!r}")
    for rival in key["rivals"]:
        text = f"column {rival['column']!r} resolves in {counted(rival['matched'], 'row')} too"
        yield from _more(
            text
            + (
                f", but names other images in {rival['differing']:,}: is {key['column']!r} right? (--key COLUMN, key=)"
                if rival["differing"]
                else ", to the same images"
            )
        )
    for remark in summary["remarks"]:
        yield from _more(remark)


def _images(summary: dict[str, Any]) -> Iterator[str]:
    matched, unmatched = summary["matched"], summary["unmatched"]
    yield from _line("IMAGES", f"{matched['rows']:,} of {counted(summary['rows'], 'row')} matched")
    for row in matched["by_dataset"]:
        patients = counted(row["patients"], "patient") if row["patients"] else "no patient ids"
        yield from _more(f"{row['dataset']}: {counted(row['images'], 'image')}, {patients}")
    if unmatched["rows"]:
        yield from _line("", f"{counted(unmatched['rows'], 'row')} not matched")
    for group in unmatched["by_reason"]:
        form = f" ({group['form']})" if group["form"] else ""
        shown = ", ".join(f"row {example['row']:,} {_cut(example['value'])}".strip() for example in group["examples"])
        yield from _more(f"{group['reason']}{form}: {group['rows']:,}; {shown}")


def _split(summary: dict[str, Any]) -> Iterator[str]:
    split = summary["split"]
    alone = [
        f"column {one['column']!r} has one value only ({_cut(one['value'])!r}), so no leak can be seen"
        for one in split["one_valued"]
    ]
    if split["column"] is None or split["column"] in {one["column"] for one in split["one_valued"]}:
        yield from _line(
            "LEAKS", f"not checked: {'; '.join(alone) or 'no split column was found (--split or split= names it)'}"
        )
        return
    verdict = (
        f"{counted(split['patients_leaking'], 'patient')} in more than one split"
        if split["patients_leaking"]
        else "none"
    )
    yield from _line(
        "LEAKS",
        f"{verdict}: column {split['column']!r}, {counted(split['patients_checked'], 'patient')} checked",
    )
    yield from _more(
        ", ".join(f"{value['value']} {counted(value['rows'], 'row')}" for value in split["values"][:_MOST_SHOWN])
    )
    for pair in split["pairs"][:_MOST_SHOWN]:
        yield from _more(
            f"{pair['first']} and {pair['second']} share {counted(pair['n_patients'], 'patient')}: {', '.join(pair['examples'])}"
        )
    if len(split["pairs"]) > _MOST_SHOWN:
        yield from _more(f"and {counted(len(split['pairs']) - _MOST_SHOWN, 'more pair')} of splits that share patients")
    if split["without_patient_ids"]:
        yield from _more(
            f"{', '.join(split['without_patient_ids'])}: images without a patient id stand for a patient each"
        )
    if split["rows_unchecked"]:
        yield from _more(f"not checked: {counted(split['rows_unchecked'], 'row')} without an image or a split value")
    if split["other_columns"]:
        yield from _more(f"not checked: {', '.join(split['other_columns'])} (--split COLUMN, split=)")
    for text in alone:
        yield from _more(f"not checked: {text}")


def _shared(summary: dict[str, Any]) -> Iterator[str]:
    shared = summary["shared_images"]
    if not shared["images"]:
        yield from _line("REPEATS", "none: every matched row has an image of its own")
        return
    verb = "is" if shared["images"] == 1 else "are"
    yield from _line(
        "REPEATS",
        f"{counted(shared['images'], 'image')} {verb} named by several rows, {shared['rows']:,} in all",
    )
    for example in shared["examples"]:
        yield from _more(f"{example['image']}: rows {', '.join(f'{row:,}' for row in example['rows'])}")


def _children(summary: dict[str, Any]) -> Iterator[str]:
    children = summary["children"]
    rest = "".join(
        f"; {counted(children[key], 'image')} {text}"
        for key, text in (("possible", "where the age leaves it open"), ("age_unknown", "of unknown age"))
        if children[key]
    )
    yield from _line("CHILDREN", f"{counted(children['certain'], 'image')} of children under 18{rest}")


def _compared(summary: dict[str, Any]) -> Iterator[str]:
    for kind, title in _KINDS:
        for report in summary[kind]:
            coding = f" (read as {report['coding']})" if report.get("coding") else ""
            verdict = (
                f"{report['different']:,} of {report['compared']:,} {'differs' if report['different'] == 1 else 'differ'} from the catalog"
                if report["different"]
                else f"all {report['compared']:,} agree"
            )
            if not report["compared"]:
                verdict = "nothing to compare"
            rest = [
                f"{report[key]:,} {text}"
                for key, text in (("unreadable", "unreadable"), ("catalog_unknown", "unknown to the catalog"))
                if report[key]
            ]
            yield from _line(title, f"column {report['column']!r}{coding}: {'; '.join([verdict, *rest])}")
            yield from _differences(report)


def _differences(report: dict[str, Any]) -> Iterator[str]:
    for example in report["examples"]:
        yield from _more(
            f"row {example['row']:,}: {_cut(example['file'])}, catalog {example['catalog']} ({example['image']})"
        )


def _labels(summary: dict[str, Any]) -> Iterator[str]:
    reports = summary["labels"]
    if not reports:
        return
    wrong = [report for report in reports if report["different"]]
    yield from _line(
        "LABELS",
        f"{counted(len(reports), 'column')} compared; "
        + (
            f"{len(wrong):,} {'contradicts' if len(wrong) == 1 else 'contradict'} the catalog"
            if wrong
            else "none contradicts the catalog"
        ),
    )
    for report in wrong[:_MOST_SHOWN]:
        first = report["examples"][0]
        yield from _more(
            f"{report['column']}: {report['different']:,} of {report['compared']:,} {'differs' if report['different'] == 1 else 'differ'}, first in row {first['row']:,} ({_cut(first['file'])}, catalog {first['catalog']})"
        )
    if len(wrong) > _MOST_SHOWN:
        yield from _more(f"and {counted(len(wrong) - _MOST_SHOWN, 'more column')}")
    for key, text in (
        ("uncertain_recoded", "that the catalog has as uncertain are 0 or 1 here"),
        ("not_stated", "that the source does not mention or assess are filled in here"),
    ):
        n = sum(report[key] for report in reports)
        if n:
            yield from _more(f"{counted(n, 'label')} {text}")


def _not_checked(summary: dict[str, Any]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for entry in summary["not_checked"]:
        by_reason.setdefault(entry["why"], []).append(entry["what"])
    for place, (why, what) in enumerate(by_reason.items()):
        yield from _line("" if place else "NOT DONE", f"not checked: {', '.join(what)}: {why}")


def _added(summary: dict[str, Any]) -> Iterator[str]:
    added = summary["added"]
    rest = f" and {len(added) - _MOST_ADDED} more" if len(added) > _MOST_ADDED else ""
    yield from _line("ADDED", f"{counted(len(added), 'column')}: {', '.join(added[:_MOST_ADDED])}{rest}")


def _cut(value: str | None) -> str:
    """A cell's value, short enough for a line."""
    text = "" if value is None else value.strip()
    return text if len(text) <= 45 else f"{text[:18]}…{text[-24:]}"
