"""`/problems/{slug}`: what each kind of problem means."""

import html
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path
from pydantic import Field
from starlette.responses import HTMLResponse, Response

from app.http.parameters import answer
from app.http.problems import documented, example
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
    """What a kind of problem means."""

    type: str = Field(examples=["/problems/invalid-model"])
    """Its stable name, which `type` of a problem document holds."""
    title: str = Field(examples=["The file is not a usable ONNX model"])
    """What happened, in short."""
    status: int = Field(examples=[422])
    """The HTTP status it comes with."""
    example: Problem
    """A problem document of this kind."""


class ProblemList(Contract):
    """Every kind of problem."""

    items: list[ProblemPage]
    """In the order of their status."""


def _page(kind: ProblemKind) -> ProblemPage:
    return ProblemPage(
        type=kind.type, title=kind.title, status=kind.status, example=Problem.model_validate(example(kind))
    )


def _wants_html(accept: str) -> bool:
    return "text/html" in accept


@router.get("/problems", response_model=ProblemList, summary="List the kinds of problem")
def list_problems() -> Response:
    """List every kind of problem this API answers, with its status and an example."""
    return answer(ProblemList(items=[_page(kind) for kind in sorted(ProblemKind, key=lambda kind: kind.status)]))


@router.get(
    "/problems/{slug}",
    response_model=ProblemPage,
    summary="Explain a kind of problem",
    responses=documented(ProblemKind.NOT_FOUND),
)
def get_problem(
    slug: Annotated[str, Path(description="The end of the problem's `type`.", examples=["invalid-model"])],
    accept: Annotated[str, Header(description="`text/html` for a page to read.", examples=["text/html"])] = "",
) -> Response:
    """Explain a kind of problem: `type` of a problem document is this address. HTML for browsers, else JSON."""
    for kind in ProblemKind:
        if kind.value.slug == slug:
            page = _page(kind)
            if not _wants_html(accept):
                return answer(page)
            document = html.escape(page.example.model_dump_json(indent=2))
            return HTMLResponse(
                _PAGE.format(
                    title=html.escape(page.title), type=page.type, status=page.status, body=f"<pre>{document}</pre>"
                ),
                headers={"Vary": "Accept"},
            )
    raise FaceterError(ProblemKind.NOT_FOUND, f"There is no kind of problem {slug[:100]!r}; GET /problems lists them.")
