"""Fourteen findings of NIH ChestX-ray14 as CheXNet learns them, and what the reproduction left out: who they hold for.

After Zech: reproduce-chexnet, 2018, after Rajpurkar et al.: CheXNet, 2017, arXiv 1711.05225. Analysis alone imports no torch.
"""
