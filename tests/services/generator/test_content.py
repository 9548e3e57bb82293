"""Rendered content: determinism, tones, styles, sanitising and platform limits."""

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.content.markdown import Body
from services.generator.content.model import ContentOptions, GeneratedContent, Platform, SocialPost, TemplateStyle, Tone
from services.generator.content.newsletter import PREVIEW_MAX_CHARS, SUBJECT_MAX_CHARS
from services.generator.content.post_length import post_weight
from services.generator.content.render import render_content
from services.generator.content.social import LIMITS
from services.generator.content.web_update import SEO_EXCERPT_MAX_CHARS, SEO_TITLE_MAX_CHARS
from services.generator.documents.file import PACKAGED_DOCUMENT
from services.generator.documents.model import Document
from services.generator.documents.parser import parse_document
from tests.support.programs import needs

DOCUMENT = parse_document(PACKAGED_DOCUMENT.read_text("utf-8"))
SIMULATING_WORDS = re.compile("error|timeout|invalid|slow|forbidden|draft|banned", re.IGNORECASE)


def document_of(*, title: str = "T", content: str = "C", category: str = "Tips") -> Document:
    body = content.replace("\n", "\n  ")
    return parse_document(
        f"# Brand\n## [{category}] S\n### H\n- **Date:** 2026-01-24\n- **Title:** {title}\n- **Content:** {body}\n"
    )


def full_text(post: SocialPost) -> str:
    """Return the post as its readers see it: the content, then the hashtags."""
    return f"{post.content}\n\n{' '.join(post.hashtags)}" if post.hashtags else post.content


def in_tone(tone: Tone) -> GeneratedContent:
    return render_content(DOCUMENT, ContentOptions(email_tone=tone, web_tone=tone, social_tone=tone))


def test_the_same_document_and_options_give_the_same_content() -> None:
    for tone, style, seo in product(Tone, TemplateStyle, (True, False)):
        options = ContentOptions(email_tone=tone, web_tone=tone, social_tone=tone, style=style, seo_optimize=seo)
        copy = parse_document(PACKAGED_DOCUMENT.read_text("utf-8"))
        assert render_content(DOCUMENT, options) == render_content(copy, options)


def test_each_tone_changes_the_wording_of_every_channel() -> None:
    contents = [in_tone(tone) for tone in Tone]
    for part in (
        lambda c: c.newsletter.subject,
        lambda c: c.newsletter.text,
        lambda c: c.newsletter.html,
        lambda c: c.newsletter.preview_text,
        lambda c: c.web_update.title,
        lambda c: c.web_update.content,
        *(lambda c, i=i: c.social_posts[i].content for i in range(len(Platform))),
    ):
        assert len({part(content) for content in contents}) == len(Tone)


def test_no_tone_changes_the_authors_words() -> None:
    sentence = "lowered its resting heart rate by a mean of 2.1 beats per minute"
    assert all(sentence in " ".join(in_tone(tone).newsletter.text.split()) for tone in Tone)


def test_the_medical_tone_adds_a_notice_that_it_is_not_medical_advice() -> None:
    content = in_tone(Tone.MEDICAL_SCIENTIFIC)
    assert "does not constitute medical advice" in content.newsletter.html
    assert "does not constitute medical advice" in content.newsletter.text
    assert "does not constitute medical advice" in content.web_update.content


@pytest.mark.parametrize("tone", Tone)
def test_a_single_update_is_worded_in_the_singular(tone: Tone) -> None:
    content = render_content(document_of(), ContentOptions(email_tone=tone, web_tone=tone, social_tone=tone))
    everything = content.newsletter.text + content.newsletter.preview_text + content.web_update.content
    assert "1 update " in everything
    assert not re.search(r"are 1 update\b|1 updates|[Pp]ick the one", everything)


def test_a_channel_may_have_a_tone_of_its_own() -> None:
    mixed = render_content(DOCUMENT, ContentOptions(web_tone=Tone.ENCOURAGING))
    assert mixed.newsletter == in_tone(Tone.PROFESSIONAL).newsletter
    assert mixed.web_update == in_tone(Tone.ENCOURAGING).web_update


def test_each_style_gives_a_different_newsletter_and_web_update_from_the_same_text() -> None:
    contents = [render_content(DOCUMENT, ContentOptions(style=style)) for style in TemplateStyle]
    assert len({content.newsletter.html for content in contents}) == len(TemplateStyle)
    assert len({content.web_update.content for content in contents}) == len(TemplateStyle)
    assert len({content.newsletter.text for content in contents}) == 1


@pytest.mark.parametrize("style", TemplateStyle)
def test_a_newsletter_is_html_that_mail_clients_can_display(style: TemplateStyle) -> None:
    html = render_content(DOCUMENT, ContentOptions(style=style)).newsletter.html
    assert html.startswith("<!DOCTYPE html>")
    assert 'role="presentation"' in html
    for unsupported in ("<style", "<script", "<link", "class=", "flex", "grid", "var(", "rgba(", "<svg", "undefined"):
        assert unsupported not in html
    body = html[html.index("<body") :]
    assert not re.search(r"<(p|h1|h2|h3|ul|ol|blockquote)(?![^>]*style=)[ >]", body)


@pytest.mark.parametrize("style", TemplateStyle)
def test_a_newsletter_is_never_wider_than_the_screen(style: TemplateStyle, tmp_path: Path) -> None:
    browser = needs("chromium")
    address = f"https://a.example/{'tracked' * 40}"
    document = document_of(title="t" * 200, content=f"{address}\n\n```\n{'x' * 300}\n```\n\n| {address} |\n|---|")
    page = tmp_path / "newsletter.html"
    html = render_content(document, ContentOptions(style=style)).newsletter.html
    page.write_text(html + "<script>document.title = document.documentElement.scrollWidth</script>", "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=500,900"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path}/profile", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert int(shown.partition("<title>")[2].partition("</title>")[0]) <= 500


def test_subject_and_preview_text_fit_into_an_inbox() -> None:
    long = document_of(title="A very long headline that goes on and on " * 10)
    for tone in Tone:
        newsletter = render_content(long, ContentOptions(email_tone=tone)).newsletter
        assert 0 < len(newsletter.subject) <= SUBJECT_MAX_CHARS
        assert 0 < len(newsletter.preview_text) <= PREVIEW_MAX_CHARS
        assert "\n" not in newsletter.subject


def test_the_packaged_content_triggers_no_simulated_failure() -> None:
    for tone, seo in product(Tone, (True, False)):
        options = ContentOptions(email_tone=tone, web_tone=tone, social_tone=tone, seo_optimize=seo)
        content = render_content(DOCUMENT, options)
        texts = [content.newsletter.subject, content.web_update.title, *(p.content for p in content.social_posts)]
        assert not any(SIMULATING_WORDS.search(text) for text in texts)


def test_seo_limits_the_title_and_excerpt_and_adds_keywords() -> None:
    optimized = render_content(DOCUMENT, ContentOptions(seo_optimize=True)).web_update
    free = render_content(DOCUMENT, ContentOptions(seo_optimize=False)).web_update
    assert len(optimized.title) <= SEO_TITLE_MAX_CHARS
    assert len(optimized.excerpt) <= SEO_EXCERPT_MAX_CHARS
    assert set(free.tags) < set(optimized.tags)
    assert len(free.excerpt) > len(optimized.excerpt)


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        pytest.param("Paced breathing, explained", "paced-breathing-explained-2026-01-24", id="words"),
        pytest.param("Łódź & Straße: café", "lodz-strasse-cafe-2026-01-24", id="accents"),
        pytest.param("呼吸の練習", r"update-[0-9a-f]{8}-2026-01-24", id="no Latin letters"),
        pytest.param("word " * 60, r"(word-)+2026-01-24", id="long"),
    ],
)
def test_slugs_are_short_ascii_words_with_the_date(title: str, slug: str) -> None:
    made = render_content(document_of(title=title), ContentOptions()).web_update.slug
    assert re.fullmatch(slug, made)
    assert len(made) <= 80


HOSTILE = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    '<img src=x onerror="alert(1)">',
    "<svg/onload=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt&#58;alert(1))",
    "![x](data:text/html;base64,PHNjcmlwdD4=)",
    '<a href="vbscript:x">x</a>',
    '<iframe src="https://evil.example"></iframe>',
    "<style>body{display:none}</style>",
    '<p style="position:fixed" onclick="x()">x</p>',
    '<form action="https://evil.example"><input name=p></form>',
    "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<base href=//evil.example>",
    '</td></tr></table><meta http-equiv="refresh" content="0;url=https://evil.example">',
    "{{ 7 * 7 }} {% raw %}",
]
DANGEROUS = re.compile(
    r"<(script|svg|iframe|style|form|input|math|base|object|embed)\b|<meta http-equiv|<[^>]*\son\w+\s*=|"
    r"(href|src)\s*=\s*[\"']?\s*(javascript|vbscript|data):|<[^>]*position:fixed",
    re.IGNORECASE,
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_markdown_is_harmless_in_every_channel(hostile: str) -> None:
    document = document_of(title=f"T {hostile}", content=f"before\n\n{hostile}\n\nafter", category="A&<b>")
    for style in TemplateStyle:
        content = render_content(document, ContentOptions(style=style))
        for html in (content.newsletter.html, content.web_update.content):
            assert not DANGEROUS.search(html)
            assert "before" in html
            assert "after" in html
        assert "49" not in content.newsletter.subject


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_becomes_harmless_html(text: str) -> None:
    assert not DANGEROUS.search(Body(text).html())


def test_markdown_becomes_readable_plain_text() -> None:
    markdown = (
        "One *two* **three** `four` [link](https://a.example/b).\n\n- a\n  - b\n- c\n\n3. x\n4. y\n\n"
        "> quoted\n\n| h | i |\n|---|---|\n| 1 | 2 |\n\n<b>raw</b> &amp; done ![picture](https://a.example/p.png)"
    )
    assert Body(markdown).text == (
        "One two three four link (https://a.example/b).\n\n- a\n  - b\n- c\n\n3. x\n4. y\n\n"
        "> quoted\n\nh | i\n1 | 2\n\nraw & done picture"
    )
    assert Body(markdown).links == ("https://a.example/b",)
    assert Body(markdown).images == ("https://a.example/p.png",)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("One\ntwo.\n\nThree.", "One two.", id="the first paragraph on one line"),
        pytest.param("| a | b |\n|---|---|\n| 1 | 2 |\n\nProse.", "Prose.", id="after a table"),
        pytest.param("- a\n- b\n\nProse.", "Prose.", id="after a list"),
        pytest.param("- a\n\n  b\n\n> quoted\n\nProse.", "Prose.", id="paragraphs in a list or quotation do not count"),
        pytest.param("### Heading\n\n```\ncode\n```\n\nProse.", "Prose.", id="after a heading and code"),
        pytest.param("![](https://a.example/i.png)\n\nProse.", "Prose.", id="after an image without words"),
        pytest.param("See [the guide](https://a.example).", "See the guide.", id="without addresses"),
        pytest.param("- a\n- b", "", id="only a list"),
    ],
)
def test_a_post_opens_with_prose(content: str, text: str) -> None:
    assert Body(content).opening == text
    posts = render_content(document_of(content=content), ContentOptions()).social_posts
    assert all("\n\n\n" not in full_text(post) and (not text or text in post.content) for post in posts)


def test_a_short_post_keeps_complete_sentences_and_the_medical_notice() -> None:
    first, second = (
        "In the trial, i.e. a small one, rest came sooner.",
        "It did not for " + "many, many " * 30 + "others.",
    )
    options = ContentOptions(social_tone=Tone.MEDICAL_SCIENTIFIC, platforms=(Platform.TWITTER,))
    (post,) = render_content(document_of(content=f"{first} {second}"), options).social_posts
    notice = "For information only; no substitute for medical advice."
    assert post.content == f"Evidence brief: T\n\n{first}\n\n{notice}"
    (post,) = render_content(document_of(content="word " * 30 + "end.", title="t" * 60), options).social_posts
    assert post.content.endswith(notice)


def test_relative_links_and_images_are_reduced_to_their_text() -> None:
    markdown = (
        "[guide *one*](docs/guide.md) [up](#top) [two](//a.example) ![chart](img/chart.png) [![badge](b.svg)](x)\n\n"
        'See [home](https://a.example), [mail](mailto:me@a.example) <img src="raw.png" alt="raw">'
    )
    assert Body(markdown).html() == (
        '<p dir="auto">guide <em>one</em> up two chart badge</p>\n'
        '<p dir="auto">See <a href="https://a.example" rel="noopener noreferrer">home</a>,'
        ' <a href="mailto:me@a.example" rel="noopener noreferrer">mail</a> <img alt="raw"></p>'
    )


def test_a_newsletter_takes_its_direction_and_alignment_from_the_text() -> None:
    html = Body("مرحبا\n\n| a | b |\n|---|--:|\n| 1 | 2 |").html()
    assert html.startswith('<p dir="auto">')
    assert '<table dir="auto">' in html  # cells have no direction of their own: it would not count towards the table's
    assert '<th align="left">a</th>\n<th align="right">b</th>' in html


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        pytest.param("abc", 3, id="letters"),
        pytest.param("é", 1, id="accented"),
        pytest.param("e\u0301", 1, id="combining accent is normalised"),
        pytest.param("呼吸", 4, id="CJK counts double"),
        pytest.param("😀", 2, id="emoji"),
        pytest.param("👨‍👩‍👧‍👦", 2, id="joined family"),
        pytest.param("👍🏽", 2, id="skin tone"),
        pytest.param("🇩🇪", 2, id="flag"),
        pytest.param("1️⃣", 2, id="keycap"),
        pytest.param("❤️", 2, id="variation selector"),
        pytest.param("https://example.org/a/very/long/path?with=query&and=more", 23, id="link"),
        pytest.param("see http://a.example.", 4 + 23 + 1, id="the full stop is not the link's"),
        pytest.param("at a.io.", 3 + 23 + 1, id="a domain alone may become a link"),
        pytest.param("me@a-long-address.example 2.4 e.g. end.", 39, id="not a domain"),
    ],
)
def test_posts_are_measured_as_the_platform_measures_them(text: str, weight: int) -> None:
    assert post_weight(text) == weight


words = st.text(st.sampled_from("abc déł呼😀👍🏽 -,.'"), min_size=1, max_size=400).filter(
    lambda t: t.strip(" -,.'") != ""
)


@given(title=words, content=words, tone=st.sampled_from(Tone))
@settings(max_examples=60, deadline=None)
def test_every_post_stays_within_the_limits_of_its_platform(title: str, content: str, tone: Tone) -> None:
    document = document_of(title=f"x {title}", content=f"x {content} https://example.org/{'p' * 300}")
    for post in render_content(document, ContentOptions(social_tone=tone)).social_posts:
        limits = LIMITS[post.platform]
        assert limits.measure(full_text(post)) <= limits.max_chars
        assert len(post.hashtags) <= limits.hashtags
        assert len(post.media_urls) <= limits.media
        assert post.content.strip()


def test_the_limits_match_those_of_the_platforms() -> None:
    assert {p.value: (v.max_chars, v.hashtags) for p, v in LIMITS.items() if p in ("twitter", "instagram")} == {
        "twitter": (280, 3),
        "instagram": (2200, 30),
    }
    assert LIMITS[Platform.LINKEDIN].max_chars == 3000


def test_posts_contain_the_link_and_the_images_of_the_document() -> None:
    content = "See [the study](https://a.example/study).\n\n![Chart](https://a.example/chart.png)"
    posts = render_content(document_of(content=content), ContentOptions()).social_posts
    assert [post.platform for post in posts] == list(Platform)
    assert all("https://a.example/study" in post.content for post in posts)
    assert all(post.media_urls == ("https://a.example/chart.png",) for post in posts)


def test_only_the_requested_platforms_get_posts() -> None:
    options = ContentOptions(platforms=(Platform.FACEBOOK, Platform.TWITTER))
    posts = render_content(DOCUMENT, options).social_posts
    assert [post.platform for post in posts] == [Platform.TWITTER, Platform.FACEBOOK]
