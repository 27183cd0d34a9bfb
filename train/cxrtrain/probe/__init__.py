"""How much of sex, race or age can be read off what a model has learnt, and which of its units carry it."""
