"""A sitting at the page of `querist label`, by keyboard alone, driven by Playwright.

Called with the address of the page, the program of a browser, a folder for pictures of the page, and the keys to press.
Prints what the page said at its end.
"""

import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright


def sitting(page, address: str, keys: list[str], shots: Path) -> str:
    page.goto(address)
    # Who answers, typed where the focus is.
    expect(page.get_by_label("your name")).to_be_focused()
    page.keyboard.type("anna")
    page.keyboard.press("Enter")
    name = page.locator("#name")
    image = page.locator("#stage img")
    for at, key in enumerate(keys):
        expect(image).to_be_visible()
        before = name.text_content() or ""
        page.keyboard.press(key)
        expect(name).not_to_have_text(before)
        if at == len(keys) // 2:
            page.screenshot(path=shots / "sitting.png")
    title = page.locator("#end h1")
    # The last answers are saved first.
    expect(title).to_have_text("All pictures are answered", timeout=30_000)
    # Every part that can be used is reached by Tab, and seen when it is.
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate("document.activeElement?.id || document.activeElement?.textContent || ''")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if found and page.evaluate("document.activeElement.tagName") == "BUTTON":
            assert outline != "none", f"the focus is not seen on {found}"
            reached.add(found)
    for wanted in ["view-grid", "view-examples", "view-people", "theme", "none", "unsure", "skip", "undo"]:
        assert wanted in reached, f"{wanted} is not reached by Tab: {reached}"
    page.screenshot(path=shots / "sitting-end.png")
    return title.text_content() or ""


def main() -> None:
    address, program, folder, *keys = sys.argv[1:]
    shots = Path(folder)
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        print(sitting(page, address, keys, shots))
        browser.close()
        assert not complaints, complaints


main()
