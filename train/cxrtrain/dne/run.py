"""A DNE experiment as stages: [data → catalog → splits → store → train-backbone →] bundle → probe → fit-… → finetune → evaluate → report.

Those in brackets for drawn data alone; every one of them is commands that anyone can run by hand. Each stage is found again by
what went into it; embeddings are kept beside them by what they are of (`backbone.Embeddings`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file, stage_key
from cxrtrain.dne.config import BLACK, DneExperiment
from cxrtrain.dne.phantoms import TRAIN_BACKBONE, backbone_stage, drawn_data, on_drawn
from cxrtrain.dne.ways import Way, ways_of
from cxrtrain.models.weights import BACKBONE_ONLY, BEST, RUN
from cxrtrain.studies.data import StudyData, store_digest
from cxrtrain.studies.stages import Plan, Stage, Work, digest_of_code

if TYPE_CHECKING:
    from cxrtrain.dne.ground import Box, Ground
    from cxrtrain.dne.noise import Noise

STAGES = "stages"
BUNDLE, PROBE, FIT, FINETUNE, EVALUATE, REPORT = "bundle", "probe", "fit", "finetune", "evaluate", "report"
SEARCH, PREDICTIONS = "search", "predictions"
_MAY_GROW = ("steps", "budget", "api_budget")
_HERE = Path(__file__).parent
FILES = ("noise.safetensors", "noise.png", "trace.csv")  # of each noise
TABLES = ("fairness.csv", "hiding.csv", "pictures.csv", "published.csv", "audit.csv")


@dataclass(frozen=True)
class Wish:
    """What the command says beside the experiment. folder: that names in the experiment are relative to. catalog, store: one's
    own, unless the experiment draws its data. box: a black box in place of the backbone. noise: a published one, instead of
    fitting; resample: bring it to the images' side."""

    folder: Path
    catalog: Path | None = None
    store: Path | None = None
    box: Box | None = None
    noise: Path | None = None
    resample: bool = False
    skip_missing: bool = False
    device: str | None = None
    workers: int = 1


def plan_of(out: Path, experiment: DneExperiment, wish: Wish, *, say: Callable[[str], None] = lambda _: None) -> Plan:
    """All stages. Raises CxrError: CXR-502 where nothing says what to work on, CXR-163 white-box through a black box,
    CXR-160 no such noise."""
    ways = ways_of(experiment, given=wish.noise is not None)
    if wish.noise is not None and not wish.noise.is_file():  # before the hours of embeddings that come first
        raise CxrError("CXR-160", "this file does not exist", where=str(wish.noise), fix="name the file of a noise")
    if wish.box is not None and any(way.access != BLACK for way in ways if way.objective):
        raise CxrError(
            "CXR-163", "a black box gives no gradients, and the noise is to be fitted by them", fix="--access black"
        )
    road = _Road(out, experiment, wish, ways, say)
    stages = [
        *road.drawing(),
        road.bundle(),
        road.probe(),
        *(road.fit(way) for way in ways),
        road.finetune(),
        road.evaluate(),
        _report(ways),
    ]
    return Plan(out / STAGES, stages)


def of_step(plan: Plan, step: str) -> list[str]:
    """The stages of one of the four steps."""
    return [name for name in plan.stages if name == step or (step == FIT and name.startswith(f"{FIT}-"))]


@dataclass(frozen=True)
class _Road:
    out: Path
    experiment: DneExperiment
    wish: Wish
    ways: tuple[Way, ...]
    say: Callable[[str], None]

    @property
    def drawn(self) -> StudyData | None:
        """The drawn data; null on a catalog and store of one's own."""
        phantoms = self.experiment.phantoms
        if phantoms is None:
            return None
        return drawn_data(self.experiment, phantoms, self.wish.folder, self.wish.workers)

    def drawing(self) -> list[Stage]:
        """Drawn data, and the backbone that learns on a part of them."""
        data, phantoms = self.drawn, self.experiment.phantoms
        if data is None or phantoms is None:
            return []
        return [*data.stages(), backbone_stage(data, self.experiment, phantoms)]

    @property
    def before(self) -> tuple[str, ...]:
        """Stages that say where images and weights are."""
        return (*self.drawn.before, TRAIN_BACKBONE) if self.drawn is not None else ()

    @property
    def given(self) -> dict[str, Any]:
        """What results depend on beside stages: the images, and who looks at them."""
        said: dict[str, Any] = {
            "backbone": asdict(self.experiment.backbone), "input": asdict(self.experiment.input), "data": asdict(self.experiment.data),
            "judged_part": self.experiment.judge.test, "seed": self.experiment.seed,
        }  # fmt: skip
        if self.drawn is None:
            said |= _own_store(self.wish)
            said["weights"] = _weights_digest(self.experiment.backbone.weights)
        if self.wish.box is not None:
            said["box"] = [self.wish.box.api, self.wish.box.function, _code_of(self.wish.box.function)]
        return said

    def bundle(self) -> Stage:
        def work(on: Work) -> None:
            import numpy as np

            import cxrdata
            from cxrtrain.dne.data import PATIENTS
            from cxrtrain.prepare import prepare
            from cxrtrain.probe.data import patients_of

            with cxrdata.open(self._places(on)[0]) as opened:
                made = prepare(opened, self._experiment(on).as_training, on.folder)
                np.save(on.folder / PATIENTS, patients_of(opened, made))

        inputs: dict[str, Any] = {"training": asdict(self.experiment.as_training)}
        if self.drawn is None:
            inputs |= _own_catalog(self.experiment, self.wish)
        return Stage(BUNDLE, work, self.drawn.before if self.drawn is not None else (), inputs)

    def probe(self) -> Stage:
        def work(on: Work) -> None:
            from cxrtrain.dne.steps import probe_step

            with self._ground(on, ("train", "valid")) as ground:
                probe_step(ground, on.folder)

        return Stage(PROBE, work, (BUNDLE, *self.before), {"probe": asdict(self.experiment.probe), **self.given})

    def fit(self, way: Way) -> Stage:
        name = f"{FIT}-{way.name}"

        def work(on: Work) -> None:
            from cxrtrain.dne.steps import fit_step, given_step, share_of

            with self._ground(on, ("train", "valid")) as ground:
                if self.wish.noise is not None:
                    given_step(ground, self.wish.noise, on.folder, resample=self.wish.resample, say=self.say)
                else:
                    budget = None if self.wish.box is None else self.wish.box.budget
                    most = None if budget is None else share_of(ground, budget, len(self.ways))
                    fit_step(
                        ground, way, on.of[PROBE], on.folder, self._search(way, on, inputs), most=most, tell=on.tell, say=self.say
                    )  # fmt: skip

        # The objective and the access are the way's; the other ways' are none of its business.
        noise = {
            key: value for key, value in asdict(self.experiment.noise).items() if key not in ("access", "objectives")
        }
        inputs: dict[str, Any] = {"way": asdict(way), "noise": noise, **self.given}
        if way.access == BLACK:
            black = asdict(self.experiment.black) | {"api_budget": self.wish.box.budget if self.wish.box else None}
            inputs["black"] = {key: value for key, value in black.items() if key != "spaces"}
        if self.wish.noise is not None:
            inputs |= {"file": _file_digest(self.wish.noise), "resample": self.wish.resample}
        return Stage(name, work, (BUNDLE, PROBE, *self.before), inputs)

    def _search(self, way: Way, on: Work, inputs: Mapping[str, Any]) -> Path:
        """Where a search without gradients keeps how far it is. More steps, or a larger budget, go on from there: the stage is
        then another one, and the folder the same."""
        if way.access != BLACK:
            return on.scratch
        lasting = {key: one for key, one in inputs["black"].items() if key not in _MAY_GROW}
        key = stage_key(inputs={**inputs, "black": lasting}, after={name: place.name for name, place in on.of.items()})
        return self.out / SEARCH / f"{way.name}-{key}"

    def finetune(self) -> Stage:
        def work(on: Work) -> None:
            from cxrtrain.dne.steps import finetune_step

            with self._ground(on, ("train", "valid")) as ground:
                finetune_step(ground, self._noises(on), on.folder)

        return Stage(FINETUNE, work, self._after_fits(), {"finetune": asdict(self.experiment.finetune), **self.given})

    def evaluate(self) -> Stage:
        def work(on: Work) -> None:
            from cxrtrain.dne.steps import evaluate_step

            with self._ground(on, ("train", "valid", "test")) as ground:
                about = ground.data.bundle.about
                evaluate_step(
                    ground, self._noises(on), on.of[PROBE], on.of[FINETUNE], on.folder, synthetic=bool(about["synthetic"]), tell=on.tell
                )  # fmt: skip

        inputs = {"judge": asdict(self.experiment.judge), "code": digest_of_code(_HERE), **self.given}
        return Stage(EVALUATE, work, (*self._after_fits(), FINETUNE), inputs)

    def _after_fits(self) -> tuple[str, ...]:
        return (BUNDLE, PROBE, *self.before, *(f"{FIT}-{way.name}" for way in self.ways))

    def _noises(self, on: Work) -> dict[Way, Noise]:
        from cxrtrain.dne.steps import read_fitted

        return {way: read_fitted(on.of[f"{FIT}-{way.name}"], self.experiment.data.side) for way in self.ways}

    def _experiment(self, on: Work) -> DneExperiment:
        """The experiment with what earlier stages made in it."""
        return self.experiment if self.drawn is None else on_drawn(self.experiment, on)

    def _places(self, on: Work) -> tuple[Path | None, Path | None]:
        """Catalog and store."""
        return (self.wish.catalog, self.wish.store) if self.drawn is None else self.drawn.places(on)

    def _ground(self, on: Work, parts: tuple[str, ...]) -> AbstractContextManager[Ground]:
        from cxrtrain.dne.ground import EMBEDDINGS, opened

        _, store = self._places(on)
        assert store is not None
        return opened(
            self._experiment(on), on.of[BUNDLE], store, self.out / EMBEDDINGS, parts=parts, box=self.wish.box,
            skip_missing=self.wish.skip_missing or self.drawn is not None, device=self.wish.device, tell=on.tell, say=self.say,
        )  # fmt: skip


def _own_store(wish: Wish) -> dict[str, Any]:
    if wish.store is None:
        fix = "--store STORE (`cxrdata images build` makes one), or dne-quick, which draws its data"
        raise CxrError("CXR-502", "nothing says where the pixels are", fix=fix)
    return {"store": store_digest(wish.store)}


def _own_catalog(experiment: DneExperiment, wish: Wish) -> dict[str, Any]:
    """What the bundle depends on of a catalog of one's own. Raises CxrError CXR-501, CXR-502 where it has no such split."""
    import cxrdata
    from cxrtrain.prepare import opened_split

    with cxrdata.open(wish.catalog) as opened:
        if experiment.data.split is None:
            raise CxrError(
                "CXR-502", "the experiment names no split", where=experiment.name, fix="--set data.split=NAME"
            )
        opened_split(opened, experiment.data.split, experiment.data)
        split = sha256_file(opened.folder.splits / experiment.data.split / "manifest.json")
        return {"catalog": opened.build.build_id, "split": split}


def _weights_digest(said: str) -> str:
    """Of the file or run that weights come from; of another, its name."""
    place = Path(said.removeprefix(RUN).removesuffix(BACKBONE_ONLY))
    file = place / BEST if said.startswith(RUN) else place
    return sha256_file(file) if file.is_file() else said


def _code_of(function: str | None) -> str | None:
    """A digest of the file that MODULE:FUNCTION stands in: it may have been changed since. None where there is none."""
    from importlib.util import find_spec

    if function is None:
        return None
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = find_spec(function.partition(":")[0])
    except (ImportError, ValueError, AttributeError):  # said when it is called
        return None
    finally:
        sys.path.remove(here)
    place = None if found is None or found.origin is None else Path(found.origin)
    return sha256_file(place) if place is not None and place.is_file() else None


def _file_digest(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _report(ways: tuple[Way, ...]) -> Stage:
    def work(on: Work) -> None:
        from cxrtrain.dne.figures import write_figures

        fits = {name.removeprefix(f"{FIT}-"): place for name, place in on.of.items() if name.startswith(f"{FIT}-")}
        write_figures(on.of[EVALUATE], fits, on.folder)

    after = (EVALUATE, *(f"{FIT}-{way.name}" for way in ways))
    return Stage(REPORT, work, after, {"code": digest_of_code(_HERE)})


def publish(plan: Plan, out: Path, say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Copy what is finished of noises, tables and figures to where it was asked for, and give what that is."""
    fits = {name: FILES for name in plan.stages if name.startswith(f"{FIT}-")}
    wanted = {**fits, FINETUNE: ("validation.csv",), EVALUATE: (*TABLES, PREDICTIONS), REPORT: ("figures",)}
    return plan.publish(out, wanted, say, apart=tuple(fits))
