"""The files of metadata/: whole, without repeats, pointing at each other rightly; and a user's overlays."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.schemas import tables
from cxrdata.sources.base import Registry
from cxrdata.vocabularies import Vocabularies, read_tsv

KEYS = {
    "race.tsv": ("scheme", "dataset", "field", "raw_value"),
    "views.tsv": ("dataset", "field", "raw_value"),
    "sex.tsv": ("dataset", "raw_value"),
    "age_groups.tsv": ("scheme", "age_group"),
    "finding_tree.tsv": ("child", "parent"),
    "label_map.sssom.tsv": ("subject_id", "object_id"),
    "broken_images.tsv": ("dataset", "image_id"),
    "labelers.tsv": ("labeler",),
    "label_states.tsv": ("state",),
}
# CONTRACT §6.
FINDING_NAMES = (
    "no_finding enlarged_cardiomediastinum cardiomegaly lung_opacity lung_lesion edema consolidation pneumonia atelectasis "
    "pneumothorax pleural_effusion pleural_other fracture support_devices infiltration mass nodule emphysema fibrosis "
    "pleural_thickening hernia aortic_enlargement calcification clavicle_fracture rib_fracture enlarged_pulmonary_artery "
    "interstitial_lung_disease lung_cavity lung_cyst mediastinal_shift nodule_mass other_lesion copd lung_tumor tuberculosis "
    "other_disease"
)
FINDINGS = FINDING_NAMES.split()
RACES = (
    "White", "Black", "Asian", "American Indian/Alaska Native", "Native Hawaiian/Pacific Islander", "Other", "Multiple"
)  # fmt: skip
# formats.md 1.1, 1.2, 1.4, 1.6, 1.7: the labels of every file.
CHEXPERT = (
    "No Finding|Enlarged Cardiomediastinum|Cardiomegaly|Lung Opacity|Lung Lesion|Edema|Consolidation|Pneumonia|Atelectasis|"
    "Pneumothorax|Pleural Effusion|Pleural Other|Fracture|Support Devices"
)
NATIVE_LABELS = {
    "chexpert": CHEXPERT,
    "mimic_cxr": CHEXPERT + "|Airspace Opacity",
    "nih_cxr14": (
        "No Finding|Infiltration|Effusion|Atelectasis|Nodule|Mass|Pneumothorax|Consolidation|Pleural_Thickening|Cardiomegaly|"
        "Emphysema|Edema|Fibrosis|Pneumonia|Hernia|Infiltrate|Fracture|Airspace opacity|Nodule or mass"
    ),
    "vindr_cxr": (
        "Aortic enlargement|Atelectasis|Calcification|Cardiomegaly|Clavicle fracture|Consolidation|Edema|Emphysema|"
        "Enlarged PA|ILD|Infiltration|Lung Opacity|Lung cavity|Lung cyst|Mediastinal shift|Nodule/Mass|Pleural effusion|"
        "Pleural thickening|Pneumothorax|Pulmonary fibrosis|Rib fracture|Other lesion|COPD|Lung tumor|Pneumonia|"
        "Tuberculosis|Other diseases|No finding|Other disease"
    ),
    "vindr_pcxr": (
        "No finding|Bronchitis|Brocho-pneumonia|Other disease|Bronchiolitis|Situs inversus|Pneumonia|Pleuro-pneumonia|"
        "Diagphramatic hernia|Tuberculosis|Congenital emphysema|CPAM|Hyaline membrane disease|Mediastinal tumor|Lung tumor|"
        "Anterior mediastinal mass|Aortic enlargement|Atelectasis|Boot-shaped heart|Bronchectasis|Bronchial thickening|"
        "Calcification|Cardiomegaly|Chest wall mass|Clavicle fracture|Consolidation|Dextro cardia|"
        "Diffuse aveolar opacity|Edema|Egg on string sign|Emphysema|Enlarged PA|Expanded edges of the anterior ribs|"
        "Infiltration|Interstitial lung disease - ILD|Intrathoracic digestive structure|Lung cavity|Lung cyst|"
        "Lung hyperinflation|Mediastinal shift|Other lesion|Other nodule/mass|Other opacity|Paraveterbral mass|"
        "Peribronchovascular interstitial opacity|Pleural effusion|Pleural thickening|Pneumothorax|Pulmonary fibrosis|"
        "Reticulonodular opacity|Stomach on the right side"
    ),
}
# PadChest's 193 labels, sorted and joined by "|" (formats.md 1.5).
PADCHEST_SHA256 = "765a602405abc052496c0f0478e973cf5172ffb14dc2dc4f4c8a307abeecaab3"


@pytest.mark.parametrize("name", sorted(KEYS))
def test_keys_are_unique(name: str) -> None:
    table = read_tsv(data_folder("metadata") / name)
    keys = table.select(KEYS[name])
    assert keys.is_unique().all()
    assert keys.null_count().sum_horizontal().item() == 0
    text = (data_folder("metadata") / name).read_text(encoding="utf-8")
    assert text.startswith("#"), "every file says what it is"
    padded = table.select(
        pl.any_horizontal(pl.all().str.strip_chars() != pl.all()).fill_null(value=False).alias("padded")
    )
    assert not padded["padded"].any()


def test_every_vocabulary_file_is_known_and_hashed(vocabularies: Vocabularies) -> None:
    others = ("README", "phantom_norms.toml")  # what phantoms are drawn by is no part of a catalog
    files = {
        path.name: path
        for path in data_folder("metadata").iterdir()
        if path.is_file() and not path.name.startswith(others)
    }
    assert vocabularies.digests == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert set(files) == {*KEYS, "findings.toml", "healthy.toml"}


def test_findings_are_those_of_the_contract_in_its_order(vocabularies: Vocabularies) -> None:
    assert vocabularies.finding_names == list(FINDINGS)
    assert vocabularies.findings["finding_order"].to_list() == list(range(1, len(FINDINGS) + 1))
    for column in ("title", "definition", "differs"):
        assert vocabularies.findings[column].str.strip_chars().str.len_chars().min() > 3  # type: ignore[operator]


@pytest.mark.parametrize("dataset", sorted(NATIVE_LABELS))
def test_native_labels_are_complete(dataset: str, vocabularies: Vocabularies) -> None:
    assert vocabularies.native_labels(dataset) == sorted(NATIVE_LABELS[dataset].split("|"))


def test_all_labels_of_padchest(vocabularies: Vocabularies) -> None:
    labels = vocabularies.native_labels("padchest")
    assert len(labels) == 193
    assert hashlib.sha256("|".join(labels).encode()).hexdigest() == PADCHEST_SHA256


def test_the_crosswalk_is_sssom(vocabularies: Vocabularies) -> None:
    """SSSOM's TSV form: metadata as commented YAML with a CURIE map, the required slots as columns."""
    lines = (data_folder("metadata") / "label_map.sssom.tsv").read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    slots = {match[1] for line in header if (match := re.match(r"#(\w+):", line))}
    assert {"mapping_set_id", "license", "curie_map"} <= slots
    prefixes = {match[1] for line in header if (match := re.match(r'#  (\w+): "\S+"$', line))}
    crosswalk = vocabularies.crosswalk
    assert {"subject_id", "predicate_id", "object_id", "mapping_justification", "comment"} <= set(crosswalk.columns)
    for column in ("subject_id", "predicate_id", "object_id", "mapping_justification"):
        assert set(crosswalk[column].str.split(":").list.first()) <= prefixes
    assert (crosswalk["subject_id"].str.splitn(":", 2).struct[1] == crosswalk["subject_label"]).all()


def test_every_mapping_leads_to_a_finding(vocabularies: Vocabularies) -> None:
    mapped = vocabularies.label_map.filter(pl.col("finding").is_not_null())
    assert set(mapped["finding"]) <= set(FINDINGS)
    assert set(mapped["predicate"]) <= {"exactMatch", "broadMatch", "narrowMatch", "closeMatch"}
    titles = dict(vocabularies.findings.select("finding", "title").iter_rows())
    objects = vocabularies.crosswalk.filter(pl.col("object_id").str.starts_with("cxr:"))
    for finding, label in objects.select("object_id", "object_label").iter_rows():
        assert titles[finding.removeprefix("cxr:")] == label


def test_an_unmapped_label_is_mapped_to_nothing_else(vocabularies: Vocabularies) -> None:
    labels = vocabularies.label_map.group_by("dataset", "native_label").agg(
        n=pl.len(), unmapped=pl.col("finding").is_null().any()
    )
    assert labels.filter(pl.col("unmapped") & (pl.col("n") > 1)).is_empty()
    rows = vocabularies.label_map.filter(pl.col("finding").is_null())
    assert rows["predicate"].null_count() == rows.height


def test_a_finding_has_one_exact_label_in_each_file(vocabularies: Vocabularies) -> None:
    """Two would make image_labels ambiguous. The pairs allowed are one label's two names, never in one file."""
    exact = vocabularies.label_map.filter(pl.col("predicate") == "exactMatch")
    pairs = (
        exact.group_by("dataset", "finding")
        .agg(pl.col("native_label").sort())
        .filter(pl.col("native_label").list.len() > 1)
    )
    allowed = {
        ("mimic_cxr", "Airspace Opacity", "Lung Opacity"),
        ("nih_cxr14", "Infiltrate", "Infiltration"),
        ("vindr_cxr", "Other disease", "Other diseases"),
    }
    assert {(dataset, *labels) for dataset, _, labels in pairs.iter_rows()} <= allowed
    assert exact.group_by("dataset", "native_label").len()["len"].max() == 1


def test_the_tree_is_acyclic_and_of_known_findings(vocabularies: Vocabularies) -> None:
    tree = vocabularies.finding_tree
    assert {*tree["child"], *tree["parent"]} <= set(FINDINGS)
    parents = tree.group_by("child").agg("parent")
    above = dict(parents.iter_rows())

    def climb(finding: str, path: tuple[str, ...]) -> set[str]:
        assert finding not in path
        return {finding}.union(*(climb(parent, (*path, finding)) for parent in above.get(finding, [])))

    assert {finding: frozenset(climb(finding, ())) for finding in FINDINGS} == vocabularies.ancestors
    assert vocabularies.ancestors["pneumonia"] == {"pneumonia", "consolidation", "lung_opacity"}


def test_values_are_those_that_the_tables_allow(vocabularies: Vocabularies) -> None:
    assert set(vocabularies.race["race"].drop_nulls()) <= set(RACES)
    assert set(vocabularies.race["ethnicity"].drop_nulls()) == {"Hispanic", "Non-Hispanic"}
    assert set(vocabularies.race["missing_reason"].drop_nulls()) <= set(tables.RACE_MISSING)
    assert set(vocabularies.sex["sex"].drop_nulls()) <= set(tables.SEXES)
    assert set(vocabularies.views["view"].drop_nulls()) == set(tables.VIEWS)
    assert set(vocabularies.views["position"].drop_nulls()) == set(tables.POSITIONS)
    assert set(read_tsv(data_folder("metadata") / "views.tsv")["frontal"].drop_nulls()) == {"true", "false"}


def test_what_the_catalog_entries_name_is_known(vocabularies: Vocabularies, registry: Registry) -> None:
    names = set(registry.names)
    for table in (
        vocabularies.race,
        vocabularies.views,
        vocabularies.sex,
        vocabularies.label_map,
        vocabularies.broken_images,
    ):
        assert set(table["dataset"]) <= names
    labelers = set(vocabularies.labelers["labeler"])
    for source in registry:
        assert {labeler.name for labeler in source.labelers} <= labelers
        assert {labeler.level for labeler in source.labelers} <= set(tables.LEVELS)
    assert set(vocabularies.healthy) == names


def test_age_groups_have_neither_gap_nor_overlap(vocabularies: Vocabularies) -> None:
    schemes = {str(name): rows.sort("group_order") for (name,), rows in vocabularies.age_groups.group_by("scheme")}
    assert set(schemes) == {"pediatric_adult", "case_study", "chexploration", "decades", "nichd"}
    for rows in schemes.values():
        assert rows["low_years"][0] == 0
        assert rows["high_years"].to_list()[:-1] == rows["low_years"].to_list()[1:]
        assert rows["high_years"][-1] is None
    assert schemes["case_study"]["low_years"].to_list() == [*range(18), 18, 25, 40, 60, 80]


# Overlays.


def overlay(folder: Path, name: str, text: str) -> Vocabularies:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return Vocabularies.load(folder)


def test_an_overlay_adds_and_wins(tmp_path: Path, vocabularies: Vocabularies) -> None:
    """CONTRACT §6: a user's rows are added, and win where the key is ours too."""
    changed = overlay(
        tmp_path / "mine",
        "race.tsv",
        "scheme\tdataset\tfield\traw_value\trace\n"
        "omb1997\tmimic_cxr\trace\tMARTIAN\tOther\n"
        "omb1997\tmimic_cxr\trace\tPORTUGUESE\tOther\n",
    )
    key = ("omb1997", "mimic_cxr", "race")

    def race(of: Vocabularies, value: str) -> list[str | None]:
        rows = of.race.filter((pl.col("raw_value") == value) & pl.struct("scheme", "dataset", "field").map_elements(
            lambda row: tuple(row.values()) == key, return_dtype=pl.Boolean
        ))  # fmt: skip
        return rows["race"].to_list()

    assert (race(vocabularies, "MARTIAN"), race(changed, "MARTIAN")) == ([], ["Other"])
    assert (race(vocabularies, "PORTUGUESE"), race(changed, "PORTUGUESE")) == (["White"], ["Other"])
    assert changed.race.height == vocabularies.race.height + 1
    assert changed.race.columns == vocabularies.race.columns
    assert changed.views.equals(vocabularies.views)


def test_an_overlay_is_hashed(tmp_path: Path, vocabularies: Vocabularies) -> None:
    text = "dataset\traw_value\tsex\nnih_cxr14\tW\tF\n"
    changed = overlay(tmp_path / "mine", "sex.tsv", text)
    (tmp_path / "mine" / "README.md").write_text("notes are no vocabulary")
    expected = {"overlay/sex.tsv": hashlib.sha256(text.encode()).hexdigest()}
    assert Vocabularies.load(tmp_path / "mine").digests == changed.digests == vocabularies.digests | expected


def test_an_overlay_adds_a_finding_and_a_healthy_rule(tmp_path: Path, vocabularies: Vocabularies) -> None:
    folder = tmp_path / "mine"
    overlay(folder, "healthy.toml", '[mine]\nfinding = "no_finding"\nsql = "no_finding = 1"\n')
    finding = (
        'id = "scoliosis"\ntitle = "Scoliosis"\ngroup = "mine"\ndefinition = "A curve."\ndiffers = "Nowhere else."\n'
    )
    changed = overlay(folder, "findings.toml", f"[[finding]]\n{finding}")
    assert changed.finding_names == [*FINDINGS, "scoliosis"]
    assert set(changed.healthy) == {*vocabularies.healthy, "mine"}


SEX_HEADER = "dataset\traw_value\tsex\tcomment"
BROKEN_OVERLAYS = {
    "ragged": (
        "sex.tsv",
        f"{SEX_HEADER}\nnih_cxr14\tW\tF\n".encode(),
        "the row has 3 fields, the header 4",
        "sex.tsv:2",
    ),
    "not UTF-8": ("sex.tsv", b"# caf\xe9\n", "a vocabulary file is not UTF-8", "sex.tsv"),
    "key missing": ("sex.tsv", b"dataset\tsex\nnih_cxr14\tF\n", "the overlay lacks the column raw_value", "sex.tsv"),
    "unknown file": ("sexes.tsv", b"a\n", "sexes.tsv is no vocabulary file", "mine"),
}


@pytest.mark.parametrize("case", BROKEN_OVERLAYS)
def test_a_broken_overlay_is_refused(case: str, tmp_path: Path) -> None:
    name, body, problem, where = BROKEN_OVERLAYS[case]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_bytes(body)
    with pytest.raises(CxrError) as caught:
        _ = Vocabularies.load(folder).sex
    error = caught.value
    assert (error.code, error.problem, error.where) == ("CXR-505", problem, where)
    assert error.fix


@pytest.mark.parametrize(
    ("name", "body", "problem", "place"),
    [
        (
            "healthy.toml",
            b"[broken",
            "not valid TOML: Expected ']' at the end of a table declaration at the end of the file",
            ":1",
        ),
        ("findings.toml", b"[[finding]]\nid = scoliosis\n", "not valid TOML: Invalid value", ":2 column 6"),
        ("healthy.toml", b"# caf\xe9\n", "the file is not UTF-8", ""),
        ("findings.toml", b"# caf\xe9\n", "the file is not UTF-8", ""),
        ("findings.toml", b'[[finding]]\nid = "scoliosis"\n', "a [[finding]] lacks title", ""),
    ],
)
def test_a_broken_toml_overlay_is_refused(name: str, body: bytes, problem: str, place: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_bytes(body)
    changed = Vocabularies.load(folder)
    with pytest.raises(CxrError) as caught:
        _ = (changed.healthy, changed.findings)
    assert (caught.value.code, caught.value.problem, caught.value.where) == ("CXR-505", problem, name + place)


def test_an_overlay_saved_by_a_spreadsheet(tmp_path: Path) -> None:
    """Excel puts a byte order mark before the header and ends lines with CRLF."""
    changed = overlay(tmp_path / "mine", "sex.tsv", "\ufeffdataset\traw_value\tsex\r\nnih_cxr14\tW\tF\r\n")
    assert changed.sex.row(-1) == ("nih_cxr14", "W", "F", None)


@pytest.mark.parametrize("body", ["", "# nothing but a remark\n"])
def test_an_empty_overlay_is_refused(body: str, tmp_path: Path) -> None:
    with pytest.raises(CxrError) as caught:
        _ = overlay(tmp_path / "mine", "sex.tsv", body).sex
    assert caught.value.code == "CXR-505"


def test_overlays_that_are_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="the overlays folder does not exist") as caught:
        Vocabularies.load(tmp_path / "absent")
    assert caught.value.code == "CXR-505"


def test_a_circle_in_an_overlays_tree_is_refused(tmp_path: Path) -> None:
    changed = overlay(tmp_path / "mine", "finding_tree.tsv", "child\tparent\nlung_opacity\tpneumonia\n")
    with pytest.raises(CxrError, match="the finding tree runs in a circle") as caught:
        _ = changed.ancestors
    assert caught.value.code == "CXR-505"
