"""Tables of an audit, ready for a paper: label x group, estimate (low-high) with positives and N in every cell."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.audit.data import OVERALL

if TYPE_CHECKING:
    from cxrdata.audit.result import Audit

# What is printed where rows hold it; the others stand in the tidy files.
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC (average precision)",
    "tpr": "True positive rate (sensitivity)",
    "fpr": "False positive rate",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "youden": "Youden's J",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "prevalence": "Prevalence",
}
UNSTABLE, MASKED, UNDEFINED = "†", "masked", "undefined"
_STATES_OF = {"pediatric": "children", "adult": "adults"}
_DIGITS = 3


def paper_table(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """One row a model and label, one column a group: `0.812 (0.794-0.830); 96/1,204` with an en dash, positives / N.

    A model column only where there are several. Cells of a masked group read `masked`, of an undefined metric `undefined`,
    each with what is known of N; one of under 10 positives or negatives ends in a dagger.
    """
    shown = rows.filter(
        pl.col("metric") == metric, pl.col("group_by").is_in([OVERALL]) | pl.col("group_value").is_not_null()
    )
    columns = list(shown.select("group_by", "group_value").unique(maintain_order=True).iter_rows())
    cells: dict[tuple[str, str], dict[tuple[str, str | None], str]] = {}
    for row in shown.iter_rows(named=True):
        cells.setdefault((row["model"], row["label"]), {})[row["group_by"], row["group_value"]] = _cell(row)
    heads = _heads(columns)
    several = shown["model"].n_unique() > 1
    records = [
        ({"model": model} if several else {})
        | {"label": label}
        | {head: line.get(column, "") for column, head in zip(columns, heads, strict=True)}
        for (model, label), line in cells.items()
    ]
    return pl.DataFrame(records, schema=dict.fromkeys([*(["model"] if several else []), "label", *heads], pl.String))


def _heads(columns: list[tuple[str, str | None]]) -> list[str]:
    """`all`, then the groups by their value; with their attribute where a value alone does not say what it is of."""
    values = [value for _, value in columns]
    heads = []
    for by, value in columns:
        if by == OVERALL:
            heads.append("all")
        elif value is None:
            heads.append(by)
        else:
            plain = _STATES_OF.get(value, value)
            said = by.partition(":")[0].replace("_", " ")
            heads.append(plain if plain in _STATES_OF.values() and values.count(value) == 1 else f"{said} {value}")
    return heads


def _cell(row: dict[str, object]) -> str:
    note = str(row["note"] or "")
    if note.startswith(MASKED):
        return MASKED
    counts = f"{row['n_positive']:,}/{row['n']:,}"
    if row["estimate"] is None:
        return f"{UNDEFINED}; {counts}"
    low, high = row["ci_low"], row["ci_high"]
    interval = f" ({low:.{_DIGITS}f}–{high:.{_DIGITS}f})" if low is not None and high is not None else ""  # noqa: RUF001 - ranges
    return f"{row['estimate']:.{_DIGITS}f}{interval}; {counts}{UNSTABLE if 'unstable' in note else ''}"


def caption(rows: pl.DataFrame, metric: str) -> str:
    """What the cells of a table are, how the intervals were made, whose truth it is."""
    used = rows.filter(pl.col("metric") == metric)
    methods = _listed(used["method"])
    truth = _listed(used["truth"])
    policy = _listed(used["policy"])
    kind = f"95 % interval by {methods}" if methods else "no interval"
    return (
        f"{METRICS.get(metric, metric)}: estimate ({kind}); positives/N. Truth: {truth}; policy: {policy}. "
        f"{UNSTABLE} under 10 positives or negatives."
    )


def _listed(values: pl.Series) -> str:
    return ", ".join(values.drop_nulls().unique(maintain_order=True).to_list())


def _metrics(rows: pl.DataFrame) -> list[str]:
    present = set(rows["metric"].unique())
    return [metric for metric in METRICS if metric in present]


def markdown_page(audit: Audit) -> str:
    """All tables, with what a reader must know above them."""
    said = "".join(f"- **{text}**\n" for text in audit.warnings) + "".join(f"- {text}\n" for text in audit.notes)
    parts = [f"{said}\n" if said else ""]
    for metric in _metrics(audit.rows):
        table = paper_table(audit.rows, metric)
        parts.append(f"{_markdown(table)}\n{caption(audit.rows, metric)}\n\n")
    return "".join(parts)


def _markdown(table: pl.DataFrame) -> str:
    def line(cells: tuple[str, ...] | list[str]) -> str:
        return "| " + " | ".join(str(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |\n"

    return line(table.columns) + line(["---"] * table.width) + "".join(line(row) for row in table.iter_rows())


def html_tables(rows: pl.DataFrame) -> str:
    """All tables as HTML, without a page around them."""
    return "".join(_html(paper_table(rows, metric), caption(rows, metric)) for metric in _metrics(rows))


def _html(table: pl.DataFrame, said: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{html.escape(cell)}</th>'
            if name in {"label", "model"}
            else f"<td>{html.escape(cell).replace('; ', '<br>')}</td>"
            for name, cell in zip(table.columns, row, strict=True)
        )
        + "</tr>"
        for row in table.iter_rows()
    )
    whole = f"<table><caption>{html.escape(said)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x:auto">{whole}</div>'


_STYLE = (
    "body{font:15px/1.45 sans-serif;margin:2rem;color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse;margin:0 0 2rem;font-variant-numeric:tabular-nums}"
    "caption{caption-side:bottom;text-align:left;color:#595959;padding-top:.4rem}"
    "th,td{padding:.2rem .7rem;text-align:left;white-space:nowrap;border-bottom:1px solid #d0d0d0}"
    "thead th{border-top:2px solid;border-bottom:1px solid}"
)


def html_page(audit: Audit) -> str:
    """All tables as a page of its own; it fetches nothing."""
    said = "".join(f"<li><strong>{html.escape(text)}</strong></li>" for text in audit.warnings)
    said += "".join(f"<li>{html.escape(text)}</li>" for text in audit.notes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit</title><style>{_STYLE}</style></head>'
        f"<body><h1>Audit</h1><ul>{said}</ul>{html_tables(audit.rows)}</body></html>\n"
    )
