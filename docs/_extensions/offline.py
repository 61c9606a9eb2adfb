"""Check a built site: every page loads and links only files of the site, or links (but does not load) other sites.

python docs/_extensions/offline.py FOLDER
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src"}
NAVIGATION = {"prev", "next", "search", "index", "genindex", "canonical"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        url = given.get(LOADED.get(tag, ""))
        if url and (tag != "link" or not NAVIGATION & set((given.get("rel") or "").split())):
            self.loads.append(url)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")


def problems(folder: Path) -> list[str]:
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for url in page.loads + page.links:
            parts = urlsplit(url)
            if parts.scheme in ("data", "mailto", "blob"):
                continue
            if parts.scheme or parts.netloc:
                if url in page.loads:
                    found.append(f"{path.name} loads {url}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{path.name}: no file for {url}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{path.name}: no place for {url}")
    for sheet in sorted(folder.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8")
        found += [f"{sheet.name} loads from another site" for sign in ("url(http", "url(//", "@import") if sign in text]
    return found


if __name__ == "__main__":
    complaints = problems(Path(sys.argv[1]))
    print("\n".join(complaints), end="\n" if complaints else "")
    sys.exit(bool(complaints))
