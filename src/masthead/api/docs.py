"""The documentation at `/docs`: every part of it comes from this machine."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

router = APIRouter(include_in_schema=False)

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#12304f"/>'
    '<path d="M3 11 6 5l2 4 2-6 3 8" fill="none" stroke="#fff" stroke-width="1.6"/></svg>'
)
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """Return what `/docs` is drawn from."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return the page of Swagger UI."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Masthead: native API",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/favicon.svg",
        swagger_ui_parameters={"docExpansion": "none", "validatorUrl": None},
    )


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """Return a part of Swagger UI, from the package that brings it along."""
    if name not in _ASSETS:
        return Response(status_code=404)
    import fastapi_offline

    path = Path(fastapi_offline.__file__).parent / "static" / name
    return FileResponse(path, media_type=_ASSETS[name], headers={"cache-control": "max-age=86400"})


@router.get("/favicon.svg")
@router.get("/favicon.ico")
async def icon() -> Response:
    """Return the icon."""
    return Response(_ICON, media_type="image/svg+xml", headers={"cache-control": "max-age=86400"})
