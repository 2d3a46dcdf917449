"""Analyses of explanations."""

from collections.abc import AsyncIterator
from typing import ClassVar, Unpack

from faceter.client.asynchronous.records import AsyncRecordCollection, AsyncRemoteRecord
from faceter.client.fields import AnalysisFilters
from faceter.client.html import analysis_html
from faceter.contracts.analyses import Analysis, AnalysisSummary
from faceter.contracts.references import ResourceName


class AsyncRemoteAnalysis(Analysis, AsyncRemoteRecord):
    """An analysis of the service."""

    collection: ClassVar[ResourceName] = ResourceName.ANALYSES

    def _repr_html_(self) -> str:
        return analysis_html(self)


class AsyncAnalyses(AsyncRecordCollection[AsyncRemoteAnalysis]):
    """The analyses of the service; `analyse` of an explanation makes them."""

    record_type = AsyncRemoteAnalysis

    def list(self, *, page_size: int = 100, **filters: Unpack[AnalysisFilters]) -> AsyncIterator[AnalysisSummary]:
        """Iterate over the analyses, newest first; pages are read as they are needed."""
        return self._client.pages.items(AnalysisSummary, self._path, filters, page_size)
