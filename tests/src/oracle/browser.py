"""Opens pages in headless Chromium at the widths and colours that people read them in, and says what is wrong with each:
words wider than the window, what the console says, requests, what axe finds. One JSON object a page and view.

browser.py PAGE… ; `GRAVEN_SCREENSHOTS=DIR` keeps pictures."""

import json
import os
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

VIEWS = [
    ("desktop", 1280, 900, "light"),
    ("desktop-dark", 1280, 900, "dark"),
    ("phone", 390, 844, "light"),
    ("phone-dark", 320, 640, "dark"),
]


def look(browser, page_path, view):
    name, width, height, colours = view
    told = []
    # axe is a script, which the page's own rules would not let run.
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=colours, bypass_csp=True
    )
    page = context.new_page()
    page.on("console", lambda message: told.append("console: " + message.text))
    page.on("pageerror", lambda error: told.append("error: " + str(error)))
    own = page_path.as_uri()
    page.on("request", lambda request: request.url == own or told.append("request: " + request.url))
    page.goto(own)
    # All that can be opened is.
    for opened in (False, True):
        page.evaluate("open => document.querySelectorAll('details').forEach(one => one.open = open)", opened)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider > 0:
            told.append(f"{wider} pixels wider than the window, details {'open' if opened else 'closed'}")
        pictures = os.environ.get("GRAVEN_SCREENSHOTS")
        if pictures and not opened:
            page.screenshot(path=f"{pictures}/{page_path.stem}-{name}.png", full_page=True)
    found = Axe().run(page).response
    for violation in found["violations"]:
        where = [node["target"] for node in violation["nodes"][:5]]
        told.append(f"axe: {violation['id']}: {violation['help']}: {where}")
    context.close()
    return {"page": page_path.name, "view": name, "passes": len(found["passes"]), "told": told}


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    for path in sys.argv[1:]:
        for view in VIEWS:
            print(json.dumps(look(browser, Path(path).resolve(), view)))
    browser.close()
