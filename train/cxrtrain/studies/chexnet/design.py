"""The design of the study: its findings, whose labels are true, the groups that the published code knows nothing of."""

from __future__ import annotations

from cxrdata.interop.label_orders import chexnet_outputs

DATASET = "nih_cxr14"
LABELER = "text_mining"
SPLIT = "chexnet"
COHORT = "chexnet_nih"
RATIOS = "0.7,0.1,0.2"
EXPERIMENT = "chexnet"
HEAD = "findings"
PREDICTIONS = "preds.csv"

SEX, CHILDREN, DECADES, VIEW = "sex", "age_group:pediatric_adult", "age_group:decades", "view"
BY = (SEX, CHILDREN, DECADES, VIEW)
BY_WORDS = {SEX: "sex", CHILDREN: "children and adults", DECADES: "decade of age", VIEW: "view"}

RETRAINED, CHEXNET = "retrained", "chexnet"
SYSTEMS = {RETRAINED: "retrained (Zech)", CHEXNET: "CheXNet"}
REPLICATES = 2000
SEED = 0


def findings() -> dict[str, str]:
    """Finding -> its label in reproduce-chexnet's files, in their order."""
    return chexnet_outputs()
