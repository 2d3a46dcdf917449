"""Explanations: asking for one, listing, looking at units, deleting. Nothing here knows of HTTP."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Final

from pydantic import Field, NonNegativeInt, TypeAdapter

from app.services.explanations.checks import check_explanation
from app.services.explanations.unit_images import draw_unit
from app.services.explanations.units import UnitFiles, UnitFilter, UnitOrder, found_unit, one_of, page_of
from app.services.explanations.units import with_links as unit_with_links
from app.services.jobs.queue import JobQueue
from app.services.locks import check_unused, holding, lent
from app.services.paging import decode_cursor, encode_cursor, walked
from app.services.record_files import contains, file_links, file_of
from app.services.sources import Sources, with_name
from faceter.contracts.base import Contract, Page
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import (
    Explanation,
    ExplanationRequest,
    ExplanationSummary,
    FoundUnit,
    Unit,
    UnitPage,
)
from faceter.contracts.jobs import ExplanationJob, Job
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_dataset
from faceter.datasets.signals import SignalsDataset
from faceter.explanations.masks import MASKS, read_unit_masks
from faceter.store.library import Library
from faceter.store.newest_first import not_our_cursor

_Place = tuple[str, str, str, NonNegativeInt]
"""Which list, an explanation, the cursor of those after it, and how many of its units were shown."""

_PLACE: Final[TypeAdapter[_Place]] = TypeAdapter(_Place)


class ExplanationFilter(Contract):
    """Which explanations to list."""

    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only explanations of this model."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Only explanations by the concepts of this dataset."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["camvid"])
    """Only explanations whose name contains this, in upper or lower case."""

    def wants(self, explanation: Explanation) -> bool:
        """Whether an explanation is one of those."""
        return (
            contains(self.name, explanation.name)
            and (self.model_id is None or explanation.model_id == self.model_id)
            and (self.dataset_id is None or explanation.settings.dataset_id == self.dataset_id)
        )


@dataclass(frozen=True)
class Drawing:
    """An image that is drawn when it is wanted."""

    tag: str
    """Names all it is made of."""
    name: str
    """What to save it as."""
    draw: Callable[[], bytes]
    """Draws it, a PNG."""


class Explanations:
    """The explanations the service keeps, and the way to new ones. Every method blocks: it is to be called in a thread.

    Args:
        library: Where everything is kept.
        queue: Where jobs go.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._settings = settings
        self._sources = Sources(library, settings)
        self._files = UnitFiles(library.blobs)

    def request(self, model_id: str, request: ExplanationRequest) -> Job:
        """Check a request and queue the job.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for what does not exist or is contradictory;
                `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `OVERLOADED`.
        """
        model = self._library.models.get(model_id)
        request = with_name(request)
        check_explanation(model, request, self._sources)
        specification = ExplanationJob(model_id=model_id, request=_said_once(request))
        with holding(self._library.redis, specification.uses):
            self._library.models.get(model_id)
            self._sources.dataset(request.dataset_id, "dataset_id")
            return self._queue.enqueue(specification)

    def again(self, job: ExplanationJob) -> Job:
        """Queue what an earlier job was to do, if that can still be done.

        Raises:
            FaceterError: What `request` raises.
        """
        return self.request(job.model_id, job.request)

    def get(self, id: str) -> Explanation:
        """Return an explanation.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self._library.explanations.get(id)

    def using(self, id: str) -> AbstractContextManager[Explanation]:
        """Lend an explanation for work on its files; see `app.services.locks.lent`.

        Raises:
            FaceterError: `NOT_FOUND`, also if a file is gone in the block because it was deleted meanwhile.
        """
        return lent(self.get, id)

    def page(self, limit: int, cursor: str | None, wanted: ExplanationFilter) -> Page[ExplanationSummary]:
        """Return one page of the explanations wanted, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        page = self._library.explanations.page(limit, cursor, wanted.wants)
        return Page(items=[summary(explanation) for explanation in page.items], next_cursor=page.next_cursor)

    def units(self, id: str, wanted: UnitOrder, limit: int, cursor: str | None) -> UnitPage:
        """Return one page of an explanation's units.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for a bad cursor or a layer it is not about.
        """
        with self.using(id) as explanation:
            return page_of(self._files.read(explanation), explanation, wanted, limit, cursor)

    def unit(self, id: str, number: int, layer: str | None) -> Unit:
        """Return all that was found out about a unit.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation or the unit; `INVALID_REQUEST` on field `layer`.
        """
        explanation, unit, _ = self._one(id, number, layer)
        return unit_with_links(unit, explanation)

    def unit_image(self, id: str, number: int, layer: str | None) -> Drawing:
        """Return the image of a unit: where it fires and where its formula holds, in its strongest samples.

        Raises:
            FaceterError: `NOT_FOUND`, also if the samples were deleted since; `INVALID_REQUEST` on field `layer`;
                `NOT_ACCEPTABLE` for text.
        """
        explanation, unit, row = self._one(id, number, layer)
        if explanation.about == "text":
            raise FaceterError(
                ProblemKind.NOT_ACCEPTABLE,
                f"{id} is about text, of which there are no images. `examples` of GET "
                f"/v1/explanations/{id}/units/{number} are the sentences.",
            )
        masks = file_of(explanation, MASKS)
        dataset = self._dataset_of(explanation, explanation.settings.dataset_id)
        made_of = (
            explanation.sha256,
            masks.sha256,
            dataset.sha256,
            unit.layer,
            str(unit.unit),
            version("faceter"),
        )
        return Drawing(
            tag=hashlib.sha256("\n".join(made_of).encode()).hexdigest(),
            name=f"{explanation.name}-{unit.layer}-{unit.unit}.png",
            draw=lambda: self._draw(explanation, unit, row),
        )

    def of_model(self, model_id: str, wanted: UnitFilter, limit: int, cursor: str | None) -> Page[FoundUnit]:
        """Return one page of a model's units, over all its explanations: the newest first, of each the best unit first.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a bad cursor.
        """
        self._library.models.get(model_id)
        digest = wanted.digest(model_id)
        place = decode_cursor(_PLACE, cursor) if cursor else None
        if place is not None and place[0] != digest:
            raise not_our_cursor()
        found = list(islice(self._found(model_id, wanted, digest, place), limit + 1))
        items, more = found[:limit], len(found) > limit
        return Page(
            items=[unit for unit, _ in items],
            next_cursor=encode_cursor(_PLACE, items[-1][1]) if more else None,
        )

    def delete(self, id: str) -> None:
        """Delete an explanation; the model and the dataset stay, and so do its analyses.

        Raises:
            FaceterError: `NOT_FOUND`; `RESOURCE_IN_USE` while a job needs it.
        """
        with holding(self._library.redis, [id]):
            self.get(id)
            check_unused(self._queue, id)
            self._library.delete(self._library.explanations, id)

    def _one(self, id: str, unit: int, layer: str | None) -> tuple[Explanation, Unit, int]:
        with self.using(id) as explanation:
            return explanation, *one_of(self._files.read(explanation), explanation, unit, layer)

    def _dataset_of(self, explanation: Explanation, id: str) -> Dataset:
        """Return the dataset that an explanation was made with, or say that it is gone."""
        dataset = self._library.datasets.find(id)
        if dataset is None:
            raise FaceterError(
                ProblemKind.NOT_FOUND,
                f"{explanation.id} was made with the dataset {id}, which has been deleted since, so that there is "
                "nothing to draw on. What was found is there as before.",
            )
        return dataset

    def _draw(self, explanation: Explanation, unit: Unit, row: int) -> bytes:
        with self.using(explanation.id):
            path = self._library.blobs.path(explanation.files[MASKS].sha256)
            masks = read_unit_masks(path, explanation.settings.layers.index(unit.layer), row)
        with lent(partial(self._dataset_of, explanation), explanation.settings.dataset_id) as dataset:
            path = self._library.blobs.path(dataset.sha256)
            with open_dataset(path, dataset.kind, self._settings) as opened:
                assert isinstance(opened, ConceptsDataset | SignalsDataset)
                return draw_unit(unit, masks, opened)

    def _found(
        self, model_id: str, wanted: UnitFilter, digest: str, place: _Place | None
    ) -> Iterator[tuple[FoundUnit, _Place]]:
        """Yield the units wanted from a place on, each with the place after it."""
        for explanation, start in self._explanations_from(model_id, wanted, place):
            after = self._library.explanations.cursor_after(explanation)
            found = sorted(self._wanted_of(explanation, wanted), key=lambda unit: -unit.score)
            for number, unit in enumerate(found[start:], start + 1):
                yield found_unit(explanation, unit), (digest, explanation.id, after, number)

    def _explanations_from(
        self, model_id: str, wanted: UnitFilter, place: _Place | None
    ) -> Iterator[tuple[Explanation, int]]:
        """Yield a model's explanations from a place on, each with how many of its units were shown already."""
        after = None
        if place is not None:
            _, id, after, shown = place
            explanation = self._library.explanations.find(id)
            if explanation is not None:
                yield explanation, shown

        def of_model(explanation: Explanation) -> bool:
            return explanation.model_id == model_id and wanted.layer in (None, *explanation.settings.layers)

        for explanation in walked(self._library.explanations, of_model, after):
            yield explanation, 0

    def _wanted_of(self, explanation: Explanation, wanted: UnitFilter) -> list[Unit]:
        """Return the units wanted of an explanation; none of one that was deleted meanwhile."""
        try:
            with self.using(explanation.id):
                units = self._files.read(explanation)
        except FaceterError as error:
            if error.kind is not ProblemKind.NOT_FOUND:
                raise
            return []
        return [unit for unit in units if wanted.wants(unit)]


def _said_once(request: ExplanationRequest) -> ExplanationRequest:
    """Return the request with no layer, unit or derived concept said twice."""
    return request.model_copy(
        update={
            "layer": request.layer if isinstance(request.layer, str) else request.layers,
            "units": None if request.units is None else list(dict.fromkeys(request.units)),
            "derived_concepts": list(dict.fromkeys(request.derived_concepts)),
        }
    )


def summary(explanation: Explanation) -> ExplanationSummary:
    """Return an explanation as lists show it."""
    explained = [(layer.iou.mean, layer.explained) for layer in explanation.layers if layer.iou is not None]
    count = sum(units for _, units in explained)
    return ExplanationSummary(
        id=explanation.id,
        name=explanation.name,
        created_at=explanation.created_at,
        model_id=explanation.model_id,
        dataset_id=explanation.settings.dataset_id,
        layers=explanation.settings.layers,
        units=sum(layer.units for layer in explanation.layers),
        mean_iou=sum(mean * units for mean, units in explained) / count if count else None,
        links={"self": f"/v1/explanations/{explanation.id}"},
    )


def with_links(explanation: Explanation) -> Explanation:
    """Return the explanation with the addresses that belong to it."""
    here = f"/v1/explanations/{explanation.id}"
    links = {
        "self": here,
        "content": f"{here}/content",
        "units": f"{here}/units",
        "analyses": f"{here}/analyses",
        "model": f"/v1/models/{explanation.model_id}",
        "dataset": f"/v1/datasets/{explanation.settings.dataset_id}",
    }
    return explanation.model_copy(update={"links": {**file_links(explanation, here), **links}})
