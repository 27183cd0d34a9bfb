"""Errors as data: every problem has a stable code, an exit code and a page in docs/errors.md.

An error that ends a command is raised as `CxrError` and printed as one block. A problem
with a row or a value is no exception but a record in the `rejects` relation; it carries
a code of the same list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line (CONTRACT §1)."""

    DONE = 0
    DATA = 1
    USAGE = 2
    ENVIRONMENT = 3
    INTERRUPTED = 130


@dataclass(frozen=True)
class Problem:
    """One entry of the list of codes."""

    title: str
    exit: Exit
    meaning: str


PROBLEMS: dict[str, Problem] = {
    # 1xx: a file as a whole
    "CXR-101": Problem("file not found", Exit.ENVIRONMENT, "A path that was named does not exist or cannot be read."),
    "CXR-102": Problem("file is empty", Exit.DATA, "The file has no bytes; usually a download that broke off."),
    "CXR-103": Problem(
        "not a data file",
        Exit.DATA,
        "Under an official name lies something else: a web page (usually a login page), a Git LFS pointer, "
        "a torrent file, a folder, an archive.",
    ),
    "CXR-104": Problem("encoding not supported", Exit.DATA, "The file is UTF-16 or UTF-32. Official files are UTF-8."),
    "CXR-105": Problem("compressed file is damaged", Exit.DATA, "The gzip stream ends early or fails its checksum."),
    "CXR-106": Problem(
        "unterminated quote", Exit.DATA, "A quoted field opens and never closes, so no row after it can be trusted."
    ),
    "CXR-107": Problem("column missing", Exit.DATA, "A column that the format requires is not in the header."),
    "CXR-108": Problem(
        "column duplicated", Exit.DATA, "The header names a column twice; which one is meant is unknown."
    ),
    "CXR-109": Problem("worksheet missing", Exit.DATA, "The workbook has no sheet with the columns that are needed."),
    "CXR-110": Problem("not a workbook", Exit.DATA, "The file is not an Excel workbook (.xlsx) or is damaged."),
    "CXR-111": Problem("no data rows", Exit.DATA, "The file has a header and nothing below it, or no row survives."),
    "CXR-112": Problem(
        "dataset under another's name", Exit.USAGE, "The files found are those of a different dataset than named."
    ),
    "CXR-113": Problem(
        "nothing recognised", Exit.USAGE, "No official file of a known dataset was found where it was looked for."
    ),
    "CXR-114": Problem(
        "dataset incomplete",
        Exit.DATA,
        "The file that lists the dataset's images is missing, so the other files have nothing to refer to.",
    ),
    "CXR-115": Problem(
        "same file twice",
        Exit.USAGE,
        "Two files claim the same role in one dataset (often a file and its .gz); which one is meant is unknown.",
    ),
    "CXR-116": Problem(
        "split file refused",
        Exit.DATA,
        "A split file cannot be turned into keys: an image in two splits, a row number that is missing, repeated or out of range, a word that names no split.",
    ),
    "CXR-117": Problem(
        "workbook differs",
        Exit.DATA,
        "A sheet or column of the review's workbook is not known, or is gone without being needed.",
    ),
    "CXR-118": Problem(
        "dataset of the review refused",
        Exit.DATA,
        "An entry that is to be added to the review has an unknown key, a value that its column refuses, or facts that contradict each other.",
    ),
    "CXR-119": Problem(
        "dataset listed already",
        Exit.DATA,
        "The review has the dataset that is to be added, under this name or another.",
    ),
    "CXR-120": Problem(
        "no scores found",
        Exit.DATA,
        "No column of a file of predictions is called as a label or class is, and the file is of no known layout; or a file of features has none.",
    ),
    "CXR-121": Problem(
        "score is no finite number",
        Exit.DATA,
        "A score is missing, NaN, infinite or no number; the image cannot be ranked, and leaving it out would flatter the model; the same of a feature (`explore`).",
    ),
    "CXR-122": Problem(
        "score outside [0, 1]",
        Exit.DATA,
        "Scores that are called probabilities, or look like percentages, lie outside [0, 1]; logits are read where they are called so.",
    ),
    "CXR-123": Problem(
        "image predicted twice",
        Exit.DATA,
        "Two rows of one file of predictions, or of features, name the same image; which one holds is unknown.",
    ),
    "CXR-124": Problem(
        "label without truth",
        Exit.DATA,
        "A label that was asked for, or every label of the file, is judged on none of the images.",
    ),
    "CXR-125": Problem(
        "group with nobody",
        Exit.DATA,
        "An attribute is known of none of the images, or a condition leaves none, so there is no group to audit.",
    ),
    "CXR-126": Problem(
        "order file does not fit",
        Exit.DATA,
        "The file that gives positional predictions or features their images has another number of rows, or its labels contradict theirs.",
    ),
    "CXR-127": Problem(
        "patients in calibration and test",
        Exit.DATA,
        "A threshold would be chosen and judged on the same patients; `--allow-shared-patients` takes it as it is.",
    ),
    "CXR-128": Problem(
        "truth file refused",
        Exit.DATA,
        "A file of truth and groups names an image twice, or holds other words than states in a label's column.",
    ),
    # 13x: files of images, and fetching them
    "CXR-130": Problem(
        "image root not found",
        Exit.ENVIRONMENT,
        "The folder that is named as the place of a dataset's images is not there.",
    ),
    "CXR-131": Problem(
        "archive damaged",
        Exit.DATA,
        "A .zip, .tar or .tar.gz with images is no archive, or its list of members is damaged.",
    ),
    "CXR-132": Problem(
        "archive member damaged",
        Exit.DATA,
        "A member of an archive is missing, encrypted, or not what the archive says of it.",
    ),
    "CXR-133": Problem(
        "image root not known", Exit.USAGE, "Nothing says where the images of a dataset are on this machine."
    ),
    "CXR-134": Problem(
        "download failed",
        Exit.ENVIRONMENT,
        "A server does not give a file, or not all of it, after several attempts; what came is kept and gone on with.",
    ),
    "CXR-135": Problem(
        "download is not the published file",
        Exit.DATA,
        "The checksum or the size of a file that was fetched, twice, is not the published one, or it is another kind of file.",
    ),
    "CXR-136": Problem(
        "file differs from the one seen first",
        Exit.DATA,
        "A file without a published checksum is not the one that was fetched here before.",
    ),
    "CXR-137": Problem(
        "archive cannot be unpacked", Exit.DATA, "A fetched archive is damaged, or lacks images that it should hold."
    ),
    # 14x: pixels
    "CXR-140": Problem("not an image file", Exit.DATA, "The file is no PNG, JPEG or DICOM file; usually a web page."),
    "CXR-141": Problem(
        "image cut short", Exit.DATA, "The file is empty or ends before its picture; usually a download that broke off."
    ),
    "CXR-142": Problem(
        "image too large",
        Exit.DATA,
        "The file declares more pixels than any detector has; nothing was allocated for it.",
    ),
    "CXR-143": Problem("DICOM without pixels", Exit.DATA, "The DICOM file has no pixel data."),
    "CXR-144": Problem(
        "DICOM without transfer syntax", Exit.DATA, "The DICOM file does not say how its pixels are encoded."
    ),
    "CXR-145": Problem(
        "decoder not installed",
        Exit.ENVIRONMENT,
        "The pixels are compressed in a way that needs the extra cxrdata[dicom].",
    ),
    "CXR-146": Problem("image damaged", Exit.DATA, "The decoder cannot make a picture of the file."),
    "CXR-147": Problem(
        "image file not readable", Exit.ENVIRONMENT, "The file of an image is missing, or the system cannot read it."
    ),
    "CXR-148": Problem(
        "no image store", Exit.DATA, "The folder has no finished image store, or a file of it is missing or damaged."
    ),
    "CXR-149": Problem("image not in the store", Exit.USAGE, "The image store has no such image."),
    # 15x: training and its runs
    "CXR-150": Problem(
        "no training bundle", Exit.DATA, "The folder has no finished bundle, or a file of it is missing or damaged."
    ),
    "CXR-151": Problem(
        "bundle and image store do not fit",
        Exit.DATA,
        "The image store holds another size than the experiment trains on, or lacks images of the bundle.",
    ),
    "CXR-152": Problem(
        "nothing to learn",
        Exit.DATA,
        "A part of the split has no image with a known target, or a target takes one value only.",
    ),
    "CXR-153": Problem(
        "loss is not finite",
        Exit.DATA,
        "Training met a loss that is NaN or infinite and stopped; the images of the batch are listed.",
    ),
    "CXR-154": Problem(
        "batch does not fit into memory", Exit.ENVIRONMENT, "The device has not enough memory for the batch size."
    ),
    "CXR-155": Problem("no run", Exit.DATA, "The folder holds no training run, or a file of it is missing or damaged."),
    "CXR-156": Problem(
        "folder holds another run",
        Exit.USAGE,
        "The output folder holds a run of another experiment, bundle or version.",
    ),
    "CXR-157": Problem(
        "weights do not fit the model",
        Exit.DATA,
        "A file of weights has other tensors than the model, such as a checkpoint of another task or backbone.",
    ),
    "CXR-158": Problem(
        "checkpoint refused",
        Exit.DATA,
        "A checkpoint is damaged, or holds what is neither a tensor nor a plain container; nothing in it is ever run.",
    ),
    "CXR-159": Problem(
        "weights not found", Exit.ENVIRONMENT, "Pretrained weights are not on this machine and cannot be fetched."
    ),
    # 16x: noise editing; 165 to 169: its black boxes
    "CXR-160": Problem(
        "no noise", Exit.DATA, "The file of --noise is missing, or holds no array of numbers of a square image."
    ),
    "CXR-161": Problem(
        "noise of another side",
        Exit.USAGE,
        "The noise is for images of another size than the experiment's; `--resample` brings it to theirs.",
    ),
    "CXR-162": Problem(
        "a cell without images",
        Exit.DATA,
        "A part of the split has no image of a combination of disease and attribute that noise editing learns from, or is judged by.",
    ),
    "CXR-163": Problem(
        "no gradients through a black box",
        Exit.USAGE,
        "The noise is to be fitted by gradients, and the backbone is behind an address or a function.",
    ),
    "CXR-165": Problem(
        "black box does not answer",
        Exit.ENVIRONMENT,
        "The service behind --api cannot be reached, times out, breaks off or fails, after several attempts; what was answered is kept and gone on with.",
    ),
    "CXR-166": Problem(
        "black box refuses",
        Exit.ENVIRONMENT,
        "The service behind --api refuses the request (such as a token that is missing or wrong) or points to another address, which is not followed.",
    ),
    "CXR-167": Problem(
        "answer of the black box unusable",
        Exit.DATA,
        "A black box answers what is no embedding of the images: another count, width or type, numbers that are not finite, no .npy; or it is another than answered before.",
    ),
    "CXR-168": Problem(
        "budget of queries spent",
        Exit.USAGE,
        "The next query of a black box would exceed the budget; the same command with a larger one goes on.",
    ),
    "CXR-169": Problem(
        "images may not leave this machine",
        Exit.USAGE,
        "The terms of a dataset forbid giving its images to third parties, and the address is not of this machine alone.",
    ),
    # 2xx: a row, refused
    "CXR-201": Problem("row too short", Exit.DATA, "The row has fewer fields than the header."),
    "CXR-202": Problem("row too long", Exit.DATA, "The row has more fields than the header, and not just empty ones."),
    "CXR-203": Problem(
        "stray quote", Exit.DATA, "A quote stands inside an unquoted field, or text follows a closing quote."
    ),
    "CXR-204": Problem("row is not UTF-8", Exit.DATA, "Bytes of the row are not valid UTF-8 (often Latin-1)."),
    "CXR-205": Problem("row holds NUL bytes", Exit.DATA, "The row holds NUL bytes; usually a disk or transfer error."),
    "CXR-206": Problem("key missing", Exit.DATA, "The field that identifies the row is empty."),
    "CXR-207": Problem("key malformed", Exit.DATA, "The identifier is not of the dataset's form."),
    "CXR-208": Problem("key duplicated", Exit.DATA, "An earlier row has the same key; the first one is kept."),
    "CXR-209": Problem("image without patient", Exit.DATA, "The dataset has patient ids, and this row has none."),
    "CXR-210": Problem("row is not JSON", Exit.DATA, "The line is not one JSON object."),
    "CXR-211": Problem("not a DICOM file", Exit.DATA, "The header cannot be read as DICOM."),
    "CXR-212": Problem("box outside the image", Exit.DATA, "The box has no area or lies outside the image's frame."),
    "CXR-213": Problem("table refused the row", Exit.DATA, "The row breaks a rule of the canonical table's schema."),
    # 3xx: a value, nulled
    "CXR-301": Problem("not a number", Exit.DATA, "A numeric field holds something else."),
    "CXR-302": Problem("not a date", Exit.DATA, "A date field holds something else than yyyymmdd."),
    "CXR-303": Problem(
        "unknown value", Exit.DATA, "The value is in no vocabulary of `metadata/`; an overlay can add it."
    ),
    "CXR-304": Problem("unknown label", Exit.DATA, "The label is not in the dataset's list; an overlay can add it."),
    "CXR-305": Problem("label value invalid", Exit.DATA, "A label cell holds something else than its coding allows."),
    "CXR-306": Problem(
        "contradiction", Exit.DATA, "Two fields of one row contradict each other, so neither is believed."
    ),
    "CXR-307": Problem("age unreadable", Exit.DATA, "The age is not in a form that the dataset uses."),
    "CXR-308": Problem("spreadsheet error", Exit.DATA, "The cell holds a spreadsheet error such as #N/A."),
    "CXR-309": Problem(
        "review cell not understood",
        Exit.DATA,
        "A cell of the review's workbook is not in the form of its column; the fact is null, the cell is named.",
    ),
    # 4xx: the catalog as a whole
    "CXR-401": Problem(
        "ledger does not add up",
        Exit.DATA,
        "Rows read differ from kept + merged + unmatched + rejected: a defect of cxrdata.",
    ),
    "CXR-402": Problem("check failed", Exit.DATA, "A data check (`sql/checks/`) found rows that must not exist."),
    "CXR-403": Problem("counts differ from the official ones", Exit.DATA, "With --strict, expected counts are checks."),
    "CXR-404": Problem("schema not met", Exit.DATA, "A canonical table breaks its schema as a whole."),
    "CXR-405": Problem("build is not whole", Exit.DATA, "A file of the build is missing, changed or added (`verify`)."),
    "CXR-406": Problem("patients leak", Exit.DATA, "Patients stand on both sides of a split (`annotate`)."),
    "CXR-407": Problem(
        "relation without description", Exit.DATA, "A relation or column has no description: a defect of cxrdata."
    ),
    "CXR-408": Problem(
        "ids in a recipe",
        Exit.DATA,
        "The condition or the cohort of a split names images or patients, which a recipe to be shared must not hold.",
    ),
    "CXR-409": Problem(
        "rebuilt split differs", Exit.DATA, "A split made from a recipe is not the one that the recipe describes."
    ),
    "CXR-410": Problem(
        "request cannot be met",
        Exit.DATA,
        "The images cannot give what was asked, such as a cell of a balanced split without any image, or components of features that do not vary; the message says what they can give.",
    ),
    # 5xx: usage
    "CXR-501": Problem("unknown name", Exit.USAGE, "A dataset, table, query, variant or other name is not known."),
    "CXR-502": Problem("wrong usage", Exit.USAGE, "The arguments do not fit together."),
    "CXR-503": Problem(
        "query refused",
        Exit.USAGE,
        "The query is not valid SQL, or asks for something that a read-only catalog refuses.",
    ),
    "CXR-504": Problem(
        "no image key found", Exit.USAGE, "No column of the file holds image keys that the catalog knows."
    ),
    "CXR-505": Problem(
        "configuration invalid",
        Exit.USAGE,
        "cxrdata.toml, an overlay or an experiment cannot be read, or has unknown keys or values.",
    ),
    "CXR-506": Problem("query ran too long", Exit.USAGE, "The query passed its time or memory limit."),
    "CXR-507": Problem(
        "nothing to split", Exit.USAGE, "No image is left by the cohort, the condition or the datasets named."
    ),
    "CXR-508": Problem(
        "cohort invalid",
        Exit.USAGE,
        "A cohort file is not made of named steps, or a step does not answer with keys of the step before.",
    ),
    "CXR-511": Problem(
        "output is there already",
        Exit.USAGE,
        "A file or folder of the export's name exists and is not replaced unasked.",
    ),
    "CXR-512": Problem(
        "cannot be exported", Exit.USAGE, "The format, or the code that reads it, has no place for what was asked."
    ),
    "CXR-513": Problem(
        "label policy invalid",
        Exit.USAGE,
        "The policy named is not known, or its file names unknown findings or policies.",
    ),
    "CXR-517": Problem(
        "positions without an order",
        Exit.USAGE,
        "Predictions or features are listed by position and name no image; a keyed file in the same order must be named with --order.",
    ),
    # 6xx: environment
    "CXR-601": Problem("no catalog", Exit.ENVIRONMENT, "The folder has no catalog."),
    "CXR-602": Problem("cannot write", Exit.ENVIRONMENT, "The output folder is not writable or the disk is full."),
    "CXR-603": Problem("catalog is being written", Exit.ENVIRONMENT, "Another build holds the catalog's lock."),
    "CXR-604": Problem("component not installed", Exit.ENVIRONMENT, "The command needs an optional part of cxrdata."),
    "CXR-605": Problem("input or output failed", Exit.ENVIRONMENT, "The operating system reported an error."),
    "CXR-606": Problem(
        "build was killed", Exit.ENVIRONMENT, "A worker process ended unexpectedly, often for lack of memory."
    ),
    "CXR-699": Problem("unexpected", Exit.ENVIRONMENT, "Something that should not happen: a defect of cxrdata."),
}


class CxrError(Exception):
    """A problem that ends the command: what is wrong, where, and what to do.

    `where` is `file:line column` as far as known. `code` must be in `PROBLEMS`.
    """

    def __init__(self, code: str, problem: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem
        self.where = where
        self.fix = fix
        self.exit = PROBLEMS[code].exit

    def __reduce__(self) -> tuple[object, ...]:
        # Raised in worker processes too; the default would lose the keyword arguments.
        return (_rebuild, (self.code, self.problem, self.where, self.fix))

    def __str__(self) -> str:
        return self.block()

    def block(self) -> str:
        """The error as it is printed."""
        lines = [f"error {self.code}: {self.problem}"]
        if self.where:
            lines.append(f"  at:  {self.where}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


def _rebuild(code: str, problem: str, where: str | None, fix: str | None) -> CxrError:
    return CxrError(code, problem, where=where, fix=fix)


def nearest(name: str, known: list[str], *, most: int = 3) -> str:
    """A hint `; did you mean X?` for a misspelt name, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, known, n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""
