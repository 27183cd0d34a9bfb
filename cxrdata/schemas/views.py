"""The views of the catalog: their columns with descriptions. Their SQL is in `sql/views/`.

A view over the wide label tables has one branch a table; its file holds one branch with
`{placeholders}`, and `statement` joins the branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrdata.resources import data_folder


@dataclass(frozen=True, eq=False)  # told apart by identity: a view is a constant
class View:
    """A view: a description of it and of each column, with its SQL type.

    `stored`: what it shows is small and dear to compute, so the DuckDB file holds its rows.
    """

    name: str
    description: str
    columns: dict[str, tuple[str, str]]
    stored: bool = False

    @property
    def kind(self) -> str:
        return "TABLE" if self.stored else "VIEW"

    def describe(self) -> dict[str, str]:
        return {name: text for name, (_, text) in self.columns.items()}

    def statement(self, branches: Sequence[dict[str, str]]) -> str:
        """CREATE VIEW (or TABLE) over all branches."""
        return f"CREATE {self.kind} {self.name} AS {self.select(branches)}"

    def select(self, branches: Sequence[dict[str, str]]) -> str:
        """All branches as one SELECT; with none, one without rows. Rows that are to be stored have a total order."""
        template = (data_folder("sql") / "views" / f"{self.name}.sql").read_text(encoding="utf-8")
        body = "\n".join(line for line in template.splitlines() if not line.startswith("--"))
        selects = [body.format(**branch) for branch in branches]
        if not selects:
            nothing = ", ".join(f"NULL::{sql_type} AS {name}" for name, (sql_type, _) in self.columns.items())
            selects = [f"SELECT {nothing} WHERE false"]
        return "\nUNION ALL\n".join(selects) + ("\nORDER BY ALL" if self.stored else "")


_KEY = {"dataset": ("VARCHAR", "Dataset."), "image_id": ("VARCHAR", "Image key within the dataset.")}
_STATE = {
    "native_label": ("VARCHAR", "Label as the dataset spells it."),
    "finding": ("VARCHAR", "Its exact counterpart among the canonical findings, or null."),
    "state": ("VARCHAR", "positive, negative, uncertain or unmentioned."),
}
LABELS = View(
    "labels",
    "One row for every label that a labeler assesses on an image; not assessed means no row.",
    {
        **_KEY,
        "labeler": ("VARCHAR", "Who labelled, as in the table `labelers`."),
        **_STATE,
        "stated": ("BOOLEAN", "False where the state is the silence of a closed-world labeler, read as negative."),
        "level": ("VARCHAR", "image, or study where the label was given to the whole study."),
    },
)
ASSESSMENTS = View(
    "assessments",
    "Which images each labeler assessed.",
    {
        **_KEY,
        "labeler": ("VARCHAR", "Who labelled."),
        "closed_world": (
            "BOOLEAN",
            "Whether this labeler's silence about one of its labels on this image means negative.",
        ),
    },
)
READINGS = View(
    "readings",
    "What each reader said of each image, one row a label.",
    {**_KEY, "reader_id": ("VARCHAR", "The reader, as the dataset names them."), **_STATE},
)
HEALTHY = View(
    "healthy",
    "Whether an image is healthy by its dataset's rule (metadata/healthy.toml, `datasets.healthy_rule`) on image_labels_rolled.",
    {
        **_KEY,
        "healthy": (
            "BOOLEAN",
            "True or false by the rule; null where no one assessed the image or the dataset has no rule.",
        ),
    },
)
_N = {
    "n_positive": ("BIGINT", "Images on which it is positive."),
    "n_negative": ("BIGINT", "Images on which it is stated to be negative."),
    "n_negative_by_silence": ("BIGINT", "Images on which a closed-world labeler's silence makes it negative."),
    "n_uncertain": ("BIGINT", "Images on which it is uncertain."),
    "n_unmentioned": ("BIGINT", "Images on which the labeler looked and the source does not mention it."),
}
LABEL_COUNTS = View(
    "label_counts",
    "How often each label is in each state: `labels` counted, without turning the wide tables long.",
    {
        "dataset": _KEY["dataset"],
        "labeler": ("VARCHAR", "Who labelled."),
        "native_label": _STATE["native_label"],
        "finding": _STATE["finding"],
        **_N,
        "level": ("VARCHAR", "image, or study where the label was given to the whole study."),
    },
    stored=True,
)
LABELER_PAIRS = View(
    "labeler_pairs",
    "How two labelers of one dataset agree on the images that both assessed, one row a finding that both have.",
    {
        "dataset": _KEY["dataset"],
        "labeler": ("VARCHAR", "One labeler."),
        "other_labeler": ("VARCHAR", "The other."),
        "finding": ("VARCHAR", "Canonical finding that both have an exact label for."),
        "n_both_positive": ("BIGINT", "Images that both call positive."),
        "n_both_negative": ("BIGINT", "Images that both call negative, stated or by silence."),
        "n_positive_negative": ("BIGINT", "Images that the first calls positive and the other negative."),
        "n_negative_positive": ("BIGINT", "Images that the first calls negative and the other positive."),
    },
    stored=True,
)
VIEWS = (LABELS, ASSESSMENTS, READINGS, HEALTHY, LABEL_COUNTS, LABELER_PAIRS)
