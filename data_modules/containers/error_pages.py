"""What a server sends instead of a file: a web page, or an error in XML or JSON.

Pages are told by their first bytes. Object stores (S3, Google) send `<Error><Code>..<Message>`,
the Climate Data Store JSON with `title` and `detail`, other archives HTML with a title.
"""

from __future__ import annotations

import html
import re

__all__ = ["describe_error_page"]

# A mark of the encoding, a declaration of XML and comments may come first.
_BEFORE = rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)*"
# The kind of page, the pattern of its beginning, and of what it says in words.
_PAGES = (
    (
        "a web page (HTML)",
        re.compile(_BEFORE + rb"<(!doctype\s+html|html|head|body)\b", re.I | re.S),
        re.compile(r"<(?:title|h1)[^>]*>(.*?)</(?:title|h1)", re.I | re.S),
    ),
    (
        "a message in XML",
        re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|error|serviceexception)\b", re.I),
        re.compile(r"<(?:\w+:)?(?:Message|ServiceException)\b[^>]*>(.*?)</", re.I | re.S),
    ),
    (
        "a message in JSON",
        re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"'),
        re.compile(r'"(?:title|message|detail|error)"\s*:\s*"((?:[^"\\]|\\.)*)"', re.I),
    ),
)
_LONGEST = 200  # characters that are quoted


def describe_error_page(start: bytes) -> str | None:
    """Describe a page that was saved in place of a file.

    Args:
        start: The first bytes of the file.

    Returns:
        Its kind and what it says, such as "a web page (HTML) that says 'Not found'", or `None` if
        the file is no such page.
    """
    for kind, beginning, words in _PAGES:
        if beginning.match(start):
            said = words.search(start.decode("utf-8", "replace"))
            plain = re.sub("<[^>]*>", " ", said[1]) if said else ""
            text = " ".join(html.unescape(plain).split())[:_LONGEST]
            return f"{kind} that says {text!r}" if text else kind
    return None
