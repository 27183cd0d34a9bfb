"""PadChest's 193 labels with a number of images each, for the synthetic writer.

Ten counts are the published ones (Bustos et al., Medical Image Analysis 2020,
doi:10.1016/j.media.2020.101797). The others fall geometrically from `COMMONEST` to 1 in
the order listed, which is only roughly that of the real file.
"""

# ruff: noqa: SIM905 -- 193 labels read better on wrapped lines than one a line

from __future__ import annotations

import numpy as np

PUBLISHED_COUNTS = {
    "normal": 50_616,
    "COPD signs": 23_280,
    "cardiomegaly": 15_022,
    "unchanged": 14_349,
    "aortic elongation": 10_824,
    "pleural effusion": 10_026,
    "pneumonia": 8_037,
    "infiltrates": 7_156,
    "suboptimal study": 1_839,
    "exclude": 1_312,
}
COMMONEST = 6_900
LONG_TAIL = (
    "scoliosis|chronic changes|vertebral degenerative changes|interstitial pattern|air trapping|"
    "alveolar pattern|costophrenic angle blunting|laminar atelectasis|apical pleural thickening|"
    "aortic atheromatosis|kyphosis|bronchiectasis|nodule|fibrotic band|sternotomy|"
    "bronchovascular markings|pacemaker|pleural thickening|hiatal hernia|heart insufficiency|"
    "atelectasis|volume loss|callus rib fracture|pseudonodule|increased density|hemidiaphragm elevation|"
    "calcified granuloma|vascular hilar enlargement|dual chamber device|flattened diaphragm|emphysema|"
    "consolidation|superior mediastinal enlargement|NSG tube|diaphragmatic eventration|hilar enlargement|"
    "endotracheal tube|suture material|metal|central venous catheter via jugular vein|"
    "tuberculosis sequelae|goiter|pulmonary fibrosis|granuloma|hilar congestion|rib fracture|"
    "nipple shadow|gynecomastia|mastectomy|mediastinal enlargement|osteosynthesis material|"
    "hypoexpansion|adenopathy|mass|single chamber device|osteopenia|minor fissure thickening|bullas|"
    "vertebral anterior compression|central venous catheter via subclavian vein|lobar atelectasis|"
    "tracheostomy tube|pulmonary mass|lung metastasis|catheter|reservoir central venous catheter|"
    "artificial heart valve|pneumothorax|pulmonary edema|multiple nodules|tuberculosis|fracture|"
    "electrical device|chest drain tube|cavitation|surgery|surgery breast|mammary prosthesis|"
    "calcified densities|reticular interstitial pattern|ground glass pattern|Chilaiditi sign|"
    "abnormal foreign body|abscess|air bronchogram|air fluid level|aortic aneurysm|"
    "aortic button enlargement|aortic endoprosthesis|artificial aortic heart valve|"
    "artificial mitral heart valve|asbestosis signs|ascendent aortic elongation|atelectasis basal|"
    "atypical pneumonia|axial hyperostosis|azygoesophageal recess shift|azygos lobe|blastic bone lesion|"
    "bone cement|bone metastasis|breast mass|calcified adenopathy|calcified fibroadenoma|"
    "calcified mediastinal adenopathy|calcified pleural plaques|calcified pleural thickening|"
    "central vascular redistribution|central venous catheter|central venous catheter via umbilical vein|"
    "cervical rib|clavicle fracture|costochondral junction hypertrophy|cyst|dai|"
    "descendent aortic elongation|dextrocardia|double J stent|empyema|end on vessel|endoprosthesis|"
    "esophagic dilatation|external foreign body|fissure thickening|gastrostomy tube|"
    "heart valve calcified|humeral fracture|humeral prosthesis|hydropneumothorax|hyperinflated lung|"
    "hypoexpansion basal|kerley lines|lepidic adenocarcinoma|lipomatosis|loculated fissural effusion|"
    "loculated pleural effusion|lung vascular paucity|lymphangitis carcinomatosa|lytic bone lesion|"
    "major fissure thickening|mediastinal mass|mediastinal shift|mediastinic lipomatosis|"
    "miliary opacities|nephrostomy tube|non axial articular degenerative changes|obesity|osteoporosis|"
    "pectum carinatum|pectum excavatum|pericardial effusion|pleural mass|pleural plaques|"
    "pneumomediastinum|pneumoperitoneo|post radiotherapy changes|prosthesis|pulmonary artery enlargement|"
    "pulmonary artery hypertension|pulmonary hypertension|pulmonary venous hypertension|"
    "respiratory distress|reticulonodular interstitial pattern|right sided aortic arch|round atelectasis|"
    "sclerotic bone lesion|segmental atelectasis|soft tissue mass|sternoclavicular junction hypertrophy|"
    "subacromial space narrowing|subcutaneous emphysema|supra aortic elongation|surgery heart|"
    "surgery humeral|surgery lung|surgery neck|thoracic cage deformation|total atelectasis|"
    "tracheal shift|vascular redistribution|ventriculoperitoneal drain tube|vertebral compression|"
    "vertebral fracture"
).split("|")

# A study has one of these labels alone: its report says nothing more about the image.
ALONE = ("normal", "exclude")

LOCALIZATIONS = (
    "loc right|loc left|loc bilateral|loc basal|loc apical|loc hilar|loc perihilar|"
    "loc lower lobe|loc upper lobe|loc middle lobe|loc lingula|loc costophrenic angle|"
    "loc left costophrenic angle|loc pleural|loc fissure|loc lung field|loc cardiac|"
    "loc retrocardiac|loc mediastinum|loc superior mediastinum|loc aortic|loc aortic button|"
    "loc column|loc rib|loc clavicle|loc diaphragm|loc hemithorax|loc subsegmental|loc tracheal"
).split("|")


def label_counts() -> dict[str, int]:
    """Images with each label at official size, all 193."""
    tail = np.geomspace(COMMONEST, 1, len(LONG_TAIL)).round().astype(int).tolist()
    return {**PUBLISHED_COUNTS, **dict(zip(LONG_TAIL, tail, strict=True))}


def concept_code(kind: str, position: int) -> str | None:
    """A made-up concept code, of the form of a UMLS one; every seventh term has none.

    `kind` is `label` or `localization`, `position` that of the term in its list.
    """
    without = position % 7 == 3
    return None if without else f"C9{8 if kind == 'label' else 9}{position:05d}"
