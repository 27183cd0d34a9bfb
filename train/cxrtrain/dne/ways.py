"""The ways to a noise that an experiment compares, each a model of its own beside ERM."""

from __future__ import annotations

from dataclasses import dataclass

from cxrtrain.dne.config import BLACK, GIVEN, WHITE, DneExperiment


@dataclass(frozen=True)
class Way:
    """access: `white`, `black` or `given` (a published noise). space: of GeZO's directions. objective: null of a given one."""

    access: str
    objective: str | None = None
    space: str | None = None

    @property
    def name(self) -> str:
        """As a stage is called: white-uniform, black-grid-uniform, given."""
        return "-".join(one for one in (self.access, self.space, self.objective) if one)

    @property
    def model(self) -> str:
        """As a row calls the model."""
        return f"DNE {self.name}"


def ways_of(experiment: DneExperiment, *, given: bool) -> tuple[Way, ...]:
    """given: a noise was named, and nothing is fitted."""
    if given:
        return (Way(GIVEN),)
    wish = experiment.noise
    white = [Way(WHITE, one) for one in wish.objectives if WHITE in wish.access]
    black = [
        Way(BLACK, one, space) for one in wish.objectives for space in experiment.black.spaces if BLACK in wish.access
    ]
    return (*white, *black)
