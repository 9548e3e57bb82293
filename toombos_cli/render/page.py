"""Self-contained HTML pages in one style: no script, no font, no request. The style is in templates/page.html.j2."""

from typing import Any


def render_page(template: str, **values: Any) -> str:
    """Return the page of a template, UTF-8 text, with all values escaped that are not `Markup`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("toombos_cli.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
