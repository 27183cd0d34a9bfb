"""Predictions and features as files, by key (CONTRACT §7) or in the layouts of others.

    dataset, image_id, prob_<finding or class>, logit_<the same>, pred_<number>, run_id        our own; sorted by key
    Image Index, prob_<Label>                                                                 chexnet (reproduce-chexnet)
    class_i, logit_i, target_i                                                                chexploration

chexploration's rows name no image: FILE.keys.csv beside names them, for `cxrdata audit FILE --order FILE.keys.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.interop.label_orders import CHEXNET_KEY, CHEXPLORATION_HEADS, chexnet_outputs, chexploration_outputs
from cxrdata.stages import unfinished
from cxrdata.wording import slug
from cxrtrain.bundle import KEY, Bundle, HeadTargets
from cxrtrain.objectives import logits, probabilities
from cxrtrain.predict import FEATURES, Said
from cxrtrain.run_folder import Run

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

LAYOUTS = ("chexploration", "chexnet")
EMBEDDING = "embedding"
_ROW_GROUP = 1 << 17
_NIH = "nih_cxr14"

Rows = tuple[list[str], Iterable[Sequence[object]]]


def output_names(heads: Sequence[HeadTargets]) -> dict[str, tuple[str, ...]]:
    """Of each head, its outputs as parts of column names. What two heads put out alike, such as an `Other` of two kinds, is
    called by the head in all but the first."""
    taken: set[str] = set()
    names = {}
    for head in heads:
        plain = [slug(output) for output in head.outputs]
        names[head.name] = tuple(f"{slug(head.name)}_{name}" if name in taken else name for name in plain)
        taken.update(names[head.name])
    return names


def predictions_table(said: Said) -> pa.Table:
    """Our own layout: a column a probability and a logit; of regression, `pred_…` in its own unit."""
    import pyarrow as pa

    columns = _keys(said)
    names = output_names(said.run.heads)
    for head in said.run.heads:
        answers, raw = _values(said, head)
        for at, name in enumerate(names[head.name]):
            if head.kind == "regression":
                columns[f"pred_{name}"] = pa.array(answers[:, at])
            else:
                columns[f"prob_{name}"] = pa.array(answers[:, at])
                columns[f"logit_{name}"] = pa.array(raw[:, at])
    return pa.table(columns | {"run_id": pa.array([said.run.run_id] * len(said.bundle))})


def embeddings_table(said: Said) -> pa.Table:
    """dataset, image_id, embedding (a list of one length, float32), run_id."""
    import pyarrow as pa

    features = said.outputs[FEATURES].numpy()
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    ids = pa.array([said.run.run_id] * len(said.bundle))
    return pa.table(_keys(said) | {EMBEDDING: embedding, "run_id": ids})


def check_layout(run: Run, bundle: Bundle, layout: str | None, head: str | None, *, features: bool = False) -> None:
    """Before long work: that a layout has room for what the run says. Raises CxrError: CXR-501 no such head, CXR-502 it
    has none."""
    if layout == "chexnet":
        _chexnet_labels(run, bundle)
    elif layout == "chexploration" and features:
        _the_head(run, head)
    elif layout == "chexploration":
        _positional_head(run, head)


def write_predictions(
    said: Said, out: Path, *, layout: str | None = None, head: str | None = None, say: Callable[[str], None]
) -> None:
    """Write predictions to `out`, `.parquet` or `.csv`; those of a layout as CSV. head: of several, for chexploration.

    Raises CxrError: CXR-501 no such head, CXR-502 what the layout cannot hold, CXR-602 not writable.
    """
    if layout is None:
        _write(predictions_table(said), out)
    elif layout == "chexnet":
        _write_rows(_chexnet(said, say), out)
    else:
        _write_rows(_chexploration(said, _positional_head(said.run, head), say), out)
        beside = _write_keys(said, out)
        say(f"the order of its rows is in {beside}: cxrdata audit {out} --order {beside}")


def write_embeddings(
    said: Said, out: Path, *, layout: str | None = None, head: str | None = None, say: Callable[[str], None]
) -> None:
    """Write features to `out`. chexploration's: columns 0, 1, …, then the targets of a head. Raises as `write_predictions`."""
    if layout is None:
        _write(embeddings_table(said), out)
        return
    features = said.outputs[FEATURES].double().numpy()
    targets, values = _targets(said, _the_head(said.run, head), say)
    header = [*map(str, range(features.shape[1])), *targets]
    _write_rows((header, ([*row, *more] for row, more in zip(features.tolist(), values, strict=True))), out)
    say(f"the order of its rows is in {_write_keys(said, out)}")


def _keys(said: Said) -> dict[str, pa.Array]:
    return {name: said.bundle.table[name] for name in KEY}


def _values(said: Said, head: HeadTargets) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (or numbers) and logits, shape (images, outputs)."""
    outputs = said.outputs[head.name]
    return probabilities(head, outputs).numpy(), logits(head, outputs).numpy()


def _the_head(run: Run, name: str | None) -> HeadTargets:
    """The one head that a layout has room for."""
    heads = {head.name: head for head in run.heads}
    if name is None and len(heads) == 1:
        return run.heads[0]
    if name not in heads:
        problem = (
            f"the run has no head {name!r}" if name else f"the layout holds one head, and the run has {len(heads)}"
        )
        raise CxrError("CXR-501" if name else "CXR-502", problem, fix=f"--head {' or '.join(heads)}")
    return heads[name]


def _chexnet_labels(run: Run, bundle: Bundle) -> dict[str, str]:
    """Finding -> native label of those that the run predicts, in the layout's order."""
    if strange := sorted(set(bundle.dataset) - {_NIH}):
        problem = f"the layout chexnet names images of {_NIH} alone, and these are of {', '.join(strange)}"
        raise CxrError("CXR-502", problem, fix="leave --layout out, or ask for --dataset nih")
    found = _findings(run)
    labels = {finding: label for finding, label in chexnet_outputs().items() if finding in found}
    if not labels:
        fix = "leave --layout out: our own layout holds any label or class"
        raise CxrError("CXR-502", "the run predicts none of the labels of the layout chexnet", fix=fix)
    return labels


def _findings(run: Run) -> dict[str, tuple[HeadTargets, int]]:
    """Which head predicts a finding, the first of several, and in which place."""
    found: dict[str, tuple[HeadTargets, int]] = {}
    for head in run.heads:
        if head.kind in ("binary", "multilabel"):
            found = {name: (head, at) for at, name in enumerate(head.outputs)} | found
    return found


def _chexnet(said: Said, say: Callable[[str], None]) -> Rows:
    """Image Index and the labels in their native names, as far as the run has them."""
    labels, found = _chexnet_labels(said.run, said.bundle), _findings(said.run)
    if others := sorted(set(found) - set(labels)):
        say(f"left out, since the layout chexnet has no such label: {', '.join(others)}")
    shares = {head.name: _values(said, head)[0].astype(np.float64) for head, _ in found.values()}
    values = np.stack([shares[head.name][:, at] for head, at in (found[name] for name in labels)], axis=1).tolist()
    header = [CHEXNET_KEY, *(f"prob_{label}" for label in labels.values())]
    return header, ([key, *row] for key, row in zip(said.bundle.image_id, values, strict=True))


def _positional_head(run: Run, name: str | None) -> HeadTargets:
    """A head whose outputs are those of one of chexploration's: the file does not say what stands where."""
    head = _the_head(run, name)
    if head.kind not in ("multilabel", "classes") or chexploration_outputs(len(head.outputs)) != head.outputs:
        known = "; ".join(f"{len(names)} ({names[0]}, …)" for names in CHEXPLORATION_HEADS.values())
        raise CxrError(
            "CXR-502",
            f"the layout chexploration names no outputs, and those of head {head.name!r} are not its own, in its order",
            where=f"outputs {', '.join(head.outputs)}",
            fix=f"leave --layout out: our own layout names each. Its heads have {known} outputs",
        )
    return head


def _chexploration(said: Said, head: HeadTargets, say: Callable[[str], None]) -> Rows:
    """One head, its outputs by position."""
    answers, raw = (values.astype(np.float64) for values in _values(said, head))
    n = answers.shape[1]
    targets, known = _targets(said, head, say)
    header = [*(f"class_{at}" for at in range(n)), *(f"logit_{at}" for at in range(n)), *targets]
    rows = zip(answers.tolist(), raw.tolist(), known, strict=True)
    return header, ([*one, *two, *three] for one, two, three in rows)


def _targets(said: Said, head: HeadTargets, say: Callable[[str], None]) -> tuple[list[str], list[list[object]]]:
    """chexploration's columns of truth: `target_i` a label, `target` the number of the class; empty where not known."""
    same = next((one for one in said.bundle.heads if (one.name, one.outputs) == (head.name, head.outputs)), None)
    width = len(head.columns)
    names = ["target"] if width == 1 else [f"target_{at}" for at in range(width)]
    if same is None:
        say("the targets are left empty: the bundle has none of this head")
        return names, [[""] * width for _ in range(len(said.bundle))]
    values = said.bundle.targets(same)
    whole = head.kind != "regression"
    rows: list[list[object]] = [
        ["" if np.isnan(one) else int(one) if whole else float(one) for one in row] for row in values
    ]
    return names, rows


def _write_keys(said: Said, out: Path) -> Path:
    """Which image each row is of, in a file beside."""
    beside = out.with_suffix(".keys.csv")
    _write_rows((list(KEY), zip(said.bundle.dataset, said.bundle.image_id, strict=True)), beside)
    return beside


def _write_rows(rows: Rows, out: Path) -> None:
    header, lines = rows
    with _replacing(out) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def _write(table: pa.Table, out: Path) -> None:
    """A table, its format by the suffix; the same rows give the same bytes."""
    import pyarrow.parquet as pq

    if out.suffix.lower() == ".csv":
        _write_rows((table.column_names, zip(*(column.to_pylist() for column in table.columns), strict=True)), out)
        return
    with _replacing(out) as aside:
        pq.write_table(table, aside, row_group_size=_ROW_GROUP, compression="zstd")


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A place to write to, which becomes `out` in one step. Raises CxrError CXR-602."""
    aside = unfinished(out)
    try:
        yield aside
        aside.replace(out)
    except OSError as error:
        fix = "name a file in a folder that exists and is writable"
        raise CxrError("CXR-602", f"cannot write: {error.strerror or error}", where=str(out), fix=fix) from error
    finally:
        aside.unlink(missing_ok=True)
