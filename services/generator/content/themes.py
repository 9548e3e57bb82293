"""The template styles inside an item's body, as inline styles by element: mail clients drop style sheets."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.generator.content.model import TemplateStyle

_SANS = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_SERIF = "font-family:Georgia,'Times New Roman',serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """A theme. Colours are #rrggbb, the only form that older mail clients support."""

    font: str
    page: str
    text: str
    muted: str
    accent: str
    body_styles: dict[str, str]


def _body_styles(*, font: str, text: str, muted: str, accent: str, line: str, size_px: int) -> dict[str, str]:
    prose = f"{font};font-size:{size_px}px;line-height:1.6;color:{text}"
    cell = f"padding:8px 10px;border-bottom:1px solid {line};{font};font-size:{size_px - 1}px;color:{text}"
    return {
        "p": f"margin:0 0 12px 0;{prose}",
        "ul": f"margin:0 0 12px 0;padding:0 0 0 22px;{prose}",
        "ol": f"margin:0 0 12px 0;padding:0 0 0 24px;{prose}",
        "li": "margin:0 0 6px 0",
        "a": f"color:{accent};text-decoration:underline",
        "h3": f"margin:16px 0 8px 0;{font};font-size:{size_px + 1}px;line-height:1.4;color:{text}",
        "h4": f"margin:14px 0 6px 0;{font};font-size:{size_px}px;line-height:1.4;color:{text}",
        "blockquote": f"margin:0 0 12px 0;padding:2px 0 2px 14px;border-left:3px solid {accent};color:{muted}",
        "code": "font-family:Consolas,Menlo,monospace;font-size:13px",
        "pre": f"margin:0 0 12px 0;padding:10px 12px;border:1px solid {line};white-space:pre-wrap",
        "table": "margin:0 0 12px 0;border-collapse:collapse;width:100%",
        "th": f"{cell};font-weight:bold",
        "td": cell,
        "img": "max-width:100%;height:auto;border:0",
        "hr": f"border:0;border-top:1px solid {line};margin:16px 0",
    }


def _theme(*, font: str, page: str, text: str, muted: str, accent: str, line: str, size_px: int) -> Theme:
    styles = _body_styles(font=font, text=text, muted=muted, accent=accent, line=line, size_px=size_px)
    return Theme(font=font, page=page, text=text, muted=muted, accent=accent, body_styles=styles)


THEMES: Mapping[TemplateStyle, Theme] = {
    TemplateStyle.MODERN: _theme(
        font=_SANS, page="#eef3f4", text="#22343a", muted="#5c7178", accent="#0b6e75", line="#d9e4e6", size_px=15
    ),
    TemplateStyle.MINIMAL: _theme(
        font=_SERIF, page="#ffffff", text="#2b2b2b", muted="#767676", accent="#2b2b2b", line="#e4e4e4", size_px=16
    ),
    TemplateStyle.PLAIN: _theme(
        font="font-family:Arial,Helvetica,sans-serif",
        page="#ffffff",
        text="#000000",
        muted="#444444",
        accent="#0000cc",
        line="#bbbbbb",
        size_px=14,
    ),
}
