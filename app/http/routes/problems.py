"""`/problems/{slug}`: kinds of problems and their meaning."""

import html
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path
from pydantic import Field
from starlette.responses import HTMLResponse, Response

from app.http.negotiation import prefers
from app.http.problems import documented, example
from app.http.responses import JSON, json_response
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError, Problem, ProblemKind

router = APIRouter(tags=["problems"])

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto}}</style></head>
<body><h1>{title}</h1><p>Problem type <code>{type}</code>, HTTP status {status}.</p>{body}
<p><a href="/problems">All problems</a> · <a href="/docs">The API</a></p></body></html>"""


class ProblemPage(Contract):
    """A kind of problem."""

    type: str = Field(examples=["/problems/invalid-model"])
    """Stable identifier, as in `type` of a problem document."""
    title: str = Field(examples=["The file is not a usable ONNX model"])
    """Short summary."""
    status: int = Field(examples=[422])
    """HTTP status code."""
    example: Problem
    """Example of a problem document of this kind."""


class ProblemList(Contract):
    """List of all kinds of problems."""

    items: list[ProblemPage]
    """Kinds of problems, sorted by status."""


def _page(kind: ProblemKind) -> ProblemPage:
    return ProblemPage(
        type=kind.type, title=kind.title, status=kind.status, example=Problem.model_validate(example(kind))
    )


@router.get("/problems", response_model=ProblemList, summary="List kinds of problems")
def list_problems() -> Response:
    """List all kinds of problems of this API, with status and example."""
    return json_response(ProblemList(items=[_page(kind) for kind in sorted(ProblemKind, key=lambda kind: kind.status)]))


@router.get(
    "/problems/{slug}",
    response_model=ProblemPage,
    summary="Get a kind of problem",
    responses=documented(ProblemKind.NOT_FOUND),
)
def get_problem(
    slug: Annotated[str, Path(description="Last part of `type` of a problem document.", examples=["invalid-model"])],
    accept: Annotated[str, Header(description="`text/html` for an HTML page; else JSON.", examples=["text/html"])] = "",
) -> Response:
    """Get a kind of problem. `type` of a problem document is this URL. HTML for browsers, else JSON."""
    for kind in ProblemKind:
        if kind.value.slug == slug:
            page = _page(kind)
            if not prefers(accept, "text/html", JSON):
                return json_response(page, headers={"Vary": "Accept"})
            document = html.escape(page.example.model_dump_json(indent=2))
            return HTMLResponse(
                _PAGE.format(
                    title=html.escape(page.title), type=page.type, status=page.status, body=f"<pre>{document}</pre>"
                ),
                headers={"Vary": "Accept"},
            )
    raise FaceterError(ProblemKind.NOT_FOUND, f"There is no kind of problem {slug[:100]!r}; GET /problems lists them.")
