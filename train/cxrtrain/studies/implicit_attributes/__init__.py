"""How much of a patient's race can be read off what a model of disease has learnt, and does disease detection need it?

After the repository On-Learning-Implicit-Protected-Attributes, itself after Gichoya et al.: AI recognition of patient race in
medical imaging: a modelling study. The Lancet Digital Health 4(6):e406-e414, 2022. What analyses predictions imports no torch.
"""
