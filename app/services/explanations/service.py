"""Explanations: submit, get, list, list units, draw units, delete."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Final

from pydantic import NonNegativeInt, TypeAdapter

from app.services.core import Core
from app.services.errors import invalid
from app.services.explanations.unit_images import draw_unit
from app.services.explanations.units import UnitFilter, UnitOrder, UnitReader, find_unit, to_found_unit, unit_page
from app.services.explanations.validation import validate_explanation
from app.services.input_shapes import validate_input_shapes
from app.services.job_inputs import JobInputs
from app.services.jobs.submission import JobSubmitter
from app.services.locks import reading
from app.services.paging import iterate_records
from app.services.records import RecordService, file_of
from faceter.contracts.base import Page
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation, ExplanationFilter, ExplanationRequest, ExplanationSummary
from faceter.contracts.jobs import ExplanationJob, Job
from faceter.contracts.units import FoundUnit, Unit, UnitPage
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_dataset
from faceter.datasets.signals import SignalsDataset
from faceter.explanations.masks import MASKS, read_unit_masks
from faceter.resources import EXPLANATIONS
from faceter.store.cursors import decode_cursor, encode_cursor, foreign_cursor

_Position = tuple[str, str, str, NonNegativeInt]
"""Digest of the list, an explanation, the cursor after it, and the number of its units already listed."""

_POSITION: Final[TypeAdapter[_Position]] = TypeAdapter(_Position)


@dataclass(frozen=True)
class Drawing:
    """An image that is drawn on demand."""

    tag: str
    """Digest of everything the image depends on."""
    name: str
    """Suggested file name."""
    draw: Callable[[], bytes]
    """Returns the PNG."""


class ExplanationService(RecordService[Explanation], JobSubmitter[ExplanationJob]):
    """Manages explanations and submits explanation jobs."""

    resource = EXPLANATIONS

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._inputs = JobInputs(core.library, core.settings)
        self._units = UnitReader(core.library.blobs)

    def request(self, model_id: str, request: ExplanationRequest) -> Job:
        """Submit the explanation of a model's units.

        Raises:
            FaceterError: What `validate` raises; `OVERLOADED`.
        """
        return self.submit(ExplanationJob(model_id=model_id, request=_without_duplicates(request)))

    def validate(self, specification: ExplanationJob) -> ExplanationJob:
        """Check that units of a model can be explained.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for missing resources or contradictory options;
                `WRONG_DATASET_KIND`, `DATASET_MISMATCH`.
        """
        model = self.library.models.get(specification.model_id)
        validate_explanation(model, specification.request, self._inputs)
        shapes = specification.request.input_shapes
        validate_input_shapes(self.core, model, lambda: self._inputs.graph(model), shapes, given_by_data=True)
        return specification

    def of_model(self, model_id: str, limit: int, cursor: str | None) -> Page[ExplanationSummary]:
        """Return one page of the explanations of a model, newest first.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a bad cursor.
        """
        self.library.models.get(model_id)
        return self.page(limit, cursor, ExplanationFilter(model_id=model_id))

    def units(self, id: str, query: UnitOrder, limit: int, cursor: str | None) -> UnitPage:
        """Return one page of an explanation's units.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for a bad cursor or a layer that was not explained.
        """
        with self.reading(id) as explanation:
            return unit_page(self._units.read(explanation), explanation, query, limit, cursor)

    def unit(self, id: str, number: int, layer: str | None) -> Unit:
        """Return a unit.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation or the unit; `INVALID_REQUEST` on field `layer`.
        """
        return self._find_unit(id, number, layer)[1]

    def unit_image(self, id: str, number: int, layer: str | None, sample: int | None = None) -> Drawing:
        """Return the image of a unit: where it fires and where its formula holds, in its top-activating samples.

        Args:
            id: The explanation.
            number: Index of the unit in its layer.
            layer: The layer; optional if the explanation has only one.
            sample: Position in the unit's `examples`: this one alone is drawn, without text; by default all are.

        Raises:
            FaceterError: `NOT_FOUND`, also if the dataset was deleted; `INVALID_REQUEST` on field `layer` or `sample`;
                `NOT_ACCEPTABLE` for text.
        """
        explanation, unit, row = self._find_unit(id, number, layer)
        if explanation.about == "text":
            raise FaceterError(
                ProblemKind.NOT_ACCEPTABLE,
                f"{id} explains text, for which no images are drawn. The unit's `examples` are the sentences.",
            )
        if sample is not None and sample >= len(unit.examples):
            count = len(unit.examples)
            raise invalid(f"Unit {number} has {count} `examples`; count them from 0.", "sample")
        masks = file_of(explanation, MASKS)
        dataset = self._dataset_of(explanation, explanation.settings.dataset_id)
        dependencies = (
            explanation.sha256,
            masks.sha256,
            dataset.sha256,
            unit.layer,
            str(unit.unit),
            str(sample),
            version("faceter"),
        )
        return Drawing(
            tag=hashlib.sha256("\n".join(dependencies).encode()).hexdigest(),
            name=f"{explanation.name}-{unit.layer}-{unit.unit}.png",
            draw=lambda: self._draw(explanation, unit, row, sample),
        )

    def units_of_model(self, model_id: str, query: UnitFilter, limit: int, cursor: str | None) -> Page[FoundUnit]:
        """Return one page of a model's units over all explanations, newest explanation first, best unit first.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a bad cursor.
        """
        self.library.models.get(model_id)
        digest = query.digest(model_id)
        position = decode_cursor(_POSITION, cursor) if cursor else None
        if position is not None and position[0] != digest:
            raise foreign_cursor()
        units = list(islice(self._units_from(model_id, query, digest, position), limit + 1))
        items, more = units[:limit], len(units) > limit
        return Page(
            items=[unit for unit, _ in items],
            next_cursor=encode_cursor(_POSITION, items[-1][1]) if more else None,
        )

    def _find_unit(self, id: str, unit: int, layer: str | None) -> tuple[Explanation, Unit, int]:
        with self.reading(id) as explanation:
            return explanation, *find_unit(self._units.read(explanation), explanation, unit, layer)

    def _dataset_of(self, explanation: Explanation, id: str) -> Dataset:
        """Return the dataset of an explanation.

        Raises:
            FaceterError: `NOT_FOUND` if it was deleted.
        """
        dataset = self.library.datasets.find(id)
        if dataset is None:
            raise FaceterError(
                ProblemKind.NOT_FOUND,
                f"{explanation.id} was made with the dataset {id}, which has been deleted since, so that its "
                "units cannot be drawn. The results themselves are still available.",
            )
        return dataset

    def _draw(self, explanation: Explanation, unit: Unit, row: int, sample: int | None) -> bytes:
        with self.reading(explanation.id):
            path = self.library.blobs.path(explanation.files[MASKS].sha256)
            masks = read_unit_masks(path, explanation.settings.layers.index(unit.layer), row)
        with reading(partial(self._dataset_of, explanation), explanation.settings.dataset_id) as dataset:
            path = self.library.blobs.path(dataset.sha256)
            with open_dataset(path, dataset.kind, self.settings) as opened:
                assert isinstance(opened, ConceptsDataset | SignalsDataset)
                return draw_unit(unit, masks, opened, sample)

    def _units_from(
        self, model_id: str, query: UnitFilter, digest: str, position: _Position | None
    ) -> Iterator[tuple[FoundUnit, _Position]]:
        """Yield the matching units from a position on, each with the position after it."""
        for explanation, start in self._explanations_from(model_id, query, position):
            after = self.library.explanations.cursor_after(explanation)
            units = sorted(self._matching(explanation, query), key=lambda unit: -unit.score)
            for number, unit in enumerate(units[start:], start + 1):
                yield to_found_unit(explanation, unit), (digest, explanation.id, after, number)

    def _explanations_from(
        self, model_id: str, query: UnitFilter, position: _Position | None
    ) -> Iterator[tuple[Explanation, int]]:
        """Yield a model's explanations from a position on, each with the number of its units already listed."""
        after = None
        if position is not None:
            _, id, after, listed = position
            explanation = self.library.explanations.find(id)
            if explanation is not None:
                yield explanation, listed

        def of_model(explanation: Explanation) -> bool:
            return explanation.model_id == model_id and query.layer in (None, *explanation.settings.layers)

        for explanation in iterate_records(self.library.explanations, of_model, after):
            yield explanation, 0

    def _matching(self, explanation: Explanation, query: UnitFilter) -> list[Unit]:
        """Return the matching units of an explanation; empty if it was deleted meanwhile."""
        try:
            with self.reading(explanation.id):
                units = self._units.read(explanation)
        except FaceterError as error:
            if error.kind is not ProblemKind.NOT_FOUND:
                raise
            return []
        return [unit for unit in units if query.matches(unit)]


def _without_duplicates(request: ExplanationRequest) -> ExplanationRequest:
    """Return the request without duplicate layers, units and derived concepts."""
    return request.model_copy(
        update={
            "layer": request.layer if isinstance(request.layer, str) else request.layers,
            "units": None if request.units is None else list(dict.fromkeys(request.units)),
            "derived_concepts": list(dict.fromkeys(request.derived_concepts)),
        }
    )
