"""How much of race and sex is in a model that was trained to find disease, and what does it do with it?

After Glocker, Jones, Bernhardt, Winzeck: Algorithmic encoding of protected characteristics in chest X-ray disease detection
models. eBioMedicine 89:104467, 2023. doi:10.1016/j.ebiom.2023.104467. Nothing here imports torch.
"""
