# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""Analyses of explanations."""

from collections.abc import Iterator
from typing import ClassVar, Unpack

from faceter.client.fields import AnalysisFilters
from faceter.client.html import analysis_html
from faceter.client.synchronous.records import RecordCollection, RemoteRecord
from faceter.contracts.analyses import Analysis, AnalysisSummary
from faceter.contracts.references import ResourceName


class RemoteAnalysis(Analysis, RemoteRecord):
    """An analysis of the service."""

    collection: ClassVar[ResourceName] = ResourceName.ANALYSES

    def _repr_html_(self) -> str:
        return analysis_html(self)


class Analyses(RecordCollection[RemoteAnalysis]):
    """The analyses of the service; `analyse` of an explanation makes them."""

    record_type = RemoteAnalysis

    def list(self, *, page_size: int = 100, **filters: Unpack[AnalysisFilters]) -> Iterator[AnalysisSummary]:
        """Iterate over the analyses, newest first; pages are read as they are needed."""
        return self._client.pages.items(AnalysisSummary, self._path, filters, page_size)
