"""How often does a model trained on adults call healthy children's hearts enlarged?

After Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias
in biomedical AI. medRxiv 2025.06.06.25328913. Nothing here imports torch.
"""
