"""What the hostile catalog holds, and the datasets of the sound one."""

NAMES = ("chexpert", "mimic_cxr", "nih_cxr14", "vindr_cxr")
HOSTILE_NAME = "x<script>"
HOSTILE_TITLE = '<script>alert(1)</script> "NIH"'
HOSTILE_FILE = 'Data_Entry_2017 "it\'s", =2.csv'
HOSTILE_VIEW = "=1+1"
