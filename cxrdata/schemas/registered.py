"""Relations that no build holds: they lie beside the builds and are registered when a session is opened (CONTRACT §5)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, eq=False)  # told apart by identity: a relation is a constant
class Registered:
    """A relation with its description and, by column, type and description."""

    name: str
    description: str
    columns: dict[str, tuple[type[pl.DataType], str]]

    @property
    def schema(self) -> dict[str, type[pl.DataType]]:
        return {name: dtype for name, (dtype, _) in self.columns.items()}

    def describe(self) -> dict[str, str]:
        return {name: text for name, (_, text) in self.columns.items()}

    def shaped(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with these columns in their order and types; one that it lacks is null."""
        return frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in self.schema.items()
        )


SPLITS = Registered(
    "splits",
    "Splits of this catalog, one row an image and split; registered at opening.",
    {
        "split_name": (pl.String, "Name of the split."),
        "dataset": (pl.String, "Dataset."),
        "image_id": (pl.String, "Image key within the dataset."),
        "patient_id": (pl.String, "Patient within the dataset."),
        "split": (pl.String, "Part that the image belongs to: train, valid, test, or a study's own."),
        "fold": (pl.Int64, "Fold of a cross-validation, from 0."),
        "n_draws": (pl.Int64, "How often the image is drawn where the split resamples."),
        "weight": (pl.Float64, "Weight of the image where the split weights."),
    },
)

# What an image file is found to be. Only `ok` ones can be used; flags of their own tell what else is odd about those.
OK, MISSING, TRUNCATED, UNREADABLE, ALTERED = "ok", "missing", "truncated", "unreadable", "altered"
FILE_STATUSES = (OK, MISSING, TRUNCATED, UNREADABLE, ALTERED)

IMAGE_FILES = Registered(
    "image_files",
    "What `cxrdata images check` found, one row an image that it was asked about; there once something was checked.",
    {
        "dataset": (pl.String, "Dataset."),
        "image_id": (pl.String, "Image key within the dataset."),
        "status": (
            pl.String,
            "ok, missing (no file), truncated (it ends early), unreadable (not decodable), altered (not the published SHA-256).",
        ),
        "message": (pl.String, "Why the file is not ok, with the code of the error."),
        "known_problem": (pl.String, "What `broken_images` says of it: missing, corrupt, truncated, missing_224."),
        "file": (pl.String, "The file, or the archive that holds it, below the image root."),
        "member": (pl.String, "Its name inside that archive; null for a plain file."),
        "n_files": (pl.Int64, "Files below the root that are this image; over 1, the one in `file` was checked."),
        "file_bytes": (pl.Int64, "Its size."),
        "sha256": (pl.String, "SHA-256 of the file; with --hash."),
        "matches_published": (
            pl.Boolean,
            "Whether that is the one in the SHA256SUMS beside the images; null where there is none, or without --hash.",
        ),
        "kind": (pl.String, "PNG, JPEG or DICOM."),
        "mode": (pl.String, "Pixel mode: L is grey, RGBA colour with alpha; DICOM's photometric interpretation."),
        "bits": (pl.Int64, "Bits a sample."),
        "rows_px": (pl.Int64, "Height of the picture."),
        "columns_px": (pl.Int64, "Width of the picture."),
        "wrong_size": (
            pl.Boolean,
            "Whether that is not the size that `images` states (synthetic: not its proportions); null where it states none.",
        ),
        "wrong_mode": (
            pl.Boolean,
            "Whether there are colours, a palette or alpha, where the datasets publish one channel of grey.",
        ),
        "pixel_mean": (pl.Float64, "Mean of the picture in 8-bit grey, 0 black to 255 white."),
        "pixel_sd": (pl.Float64, "Standard deviation of the same."),
        "constant": (pl.Boolean, "Whether all pixels are alike, to the eye."),
        "polarity": (pl.Float64, "How like a chest the picture is, -1 to 1; a negative one is below 0."),
        "inverted": (pl.Boolean, "Whether it looks like a negative, bones dark: a suspicion, not a finding."),
        "perceptual_hash": (pl.String, "256 bits, hexadecimal, that resizing and recompression hardly change."),
        "same_bytes_as": (
            pl.String,
            "The first image (dataset:image_id) whose file has the same SHA-256, itself included; null if no other has.",
        ),
        "looks_like": (
            pl.String,
            "The first image (dataset:image_id), itself included, of those whose perceptual hashes are within 9 bits; null if no other's is.",
        ),
    },
)
REGISTERED = {relation.name: relation for relation in (SPLITS, IMAGE_FILES)}
