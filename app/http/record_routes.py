"""Routes common to all resources: list, get, delete and download files. Built from the resource descriptor."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.http.bodies import file_content
from app.http.dependencies import service
from app.http.links import page_with_links, with_links
from app.http.parameters import ANYWHERE, DELETING, DOWNLOADING, FileName, Paging
from app.http.problems import documented
from app.http.responses import json_response
from app.http.stored_files import content_response
from app.services.records import Download, RecordService
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.resources import Resource

FURTHER_FILE: Final = {
    **file_content("image/png", "application/json", what="The file, with its media type in `files`."),
    **documented(*DOWNLOADING),
}
"""Documented responses of a download of one of the `files` of a record."""


@dataclass(frozen=True)
class RecordTexts:
    """Descriptions of the routes of a resource in the OpenAPI document."""

    list: str
    get: str
    delete: str
    content: str
    """Description of the download of the main file."""
    content_summary: str
    files: str
    """Description of the download of further files."""


def add_record_routes(
    router: APIRouter,
    type_: type[RecordService[Any]],
    texts: RecordTexts,
    *,
    views: frozenset[str] = frozenset({"list", "get", "delete", "content", "files"}),
) -> None:
    """Add the routes of a resource to a router.

    Args:
        type_: Service of the resource.
        texts: Descriptions of the routes.
        views: Routes to add; others are defined by the module of the resource.
    """
    resource: Resource[Any] = type_.resource
    collection, noun, a = f"/v1/{resource.name}", resource.noun, _article(resource.noun)
    one = f"{collection}/{{{noun}_id}}"
    example = f"{resource.prefix}_4x8k2m9q0v7r3t6w1y5z"
    id_path = Path(alias=f"{noun}_id", description=f"Id of the {noun}.", examples=[example])
    provide = Depends(service(type_))
    query_type: Any = _list_query(resource)

    if "list" in views:

        @router.get(
            collection,
            name=f"list_{resource.name}",
            response_model=Page[resource.summary],  # type: ignore[name-defined]
            summary=f"List {resource.name}",
            description=texts.list,
            responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
        )
        def list_records(
            records: Annotated[RecordService[Any], provide], query: Annotated[query_type, Query()]
        ) -> Response:
            paging = cast(Paging, query)
            page = records.page(paging.limit, paging.cursor, query)
            return json_response(page_with_links(page, resource.name))

    if "get" in views:

        @router.get(
            one,
            name=f"get_{noun}",
            response_model=resource.contract,
            summary=f"Get {a} {noun}",
            description=texts.get,
            responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
        )
        def get_record(id: Annotated[str, id_path], records: Annotated[RecordService[Any], provide]) -> Response:
            return json_response(with_links(records.shown(records.get(id))))

    if "delete" in views:

        @router.delete(
            one,
            name=f"delete_{noun}",
            status_code=204,
            response_description="Deleted.",
            summary=f"Delete {a} {noun}",
            description=texts.delete,
            responses=documented(
                ProblemKind.NOT_FOUND,
                *(DELETING if resource.read_by_jobs else (ProblemKind.STORAGE_FULL,)),
                *ANYWHERE,
            ),
        )
        def delete_record(id: Annotated[str, id_path], records: Annotated[RecordService[Any], provide]) -> Response:
            records.delete(id)
            return Response(status_code=204)

    if "content" in views:

        @router.get(
            f"{one}/content",
            name=f"get_{noun}_content",
            summary=texts.content_summary,
            description=f"{texts.content}\n\n`Range` (a single range, optionally with `If-Range`) downloads a part, "
            "`If-None-Match` downloads the file only if it has changed.",
            response_class=Response,
            responses={
                **file_content(*sorted({type_.media_type for type_ in resource.file_types}), what="The file."),
                **documented(*DOWNLOADING),
            },
        )
        def get_content(
            id: Annotated[str, id_path], request: Request, records: Annotated[RecordService[Any], provide]
        ) -> Response:
            return download_response(request, records.content(id))

    if "files" in views:

        @router.get(
            f"{one}/files/{{name}}",
            name=f"get_{noun}_file",
            summary=f"Download a further file of {a} {noun}",
            description=f"{texts.files}\n\n`Range` and `If-None-Match` work as for `…/content`.",
            response_class=Response,
            responses=FURTHER_FILE,
        )
        def get_file(
            id: Annotated[str, id_path],
            name: FileName,
            request: Request,
            records: Annotated[RecordService[Any], provide],
        ) -> Response:
            return download_response(request, records.file(id, name))


def download_response(request: Request, file: Download) -> Response:
    """Return the response to a GET of a stored file."""
    return content_response(request, file.path, sha256=file.sha256, filename=file.filename, media_type=file.media_type)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _list_query(resource: Resource[Any]) -> type[BaseModel]:
    """Return the query parameters of the list of a resource: its filter and the page."""
    return type(
        f"{resource.filter.__name__.removesuffix('Filter')}Query",
        (resource.filter, Paging),
        {"__doc__": "Filter and page of a list of records."},
    )
