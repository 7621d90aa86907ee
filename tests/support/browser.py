"""A headless Chromium for tests of pages: what a person would see, what the page asked for, what it complained of."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def window(width: int, scheme: str = "light") -> Iterator[webdriver.Chrome]:
    """An empty window of this width, pixels, in the colour scheme `light` or `dark`."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    # Root, as CI is, has no sandbox. A shell that shares memory with the browser may have little of it.
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        yield driver
    finally:
        driver.quit()


@contextmanager
def open_page(file: Path, width: int, scheme: str) -> Iterator[webdriver.Chrome]:
    """The file in such a window."""
    with window(width, scheme) as driver:
        driver.get(file.as_uri())
        yield driver


def problems(driver: webdriver.Chrome, file: Path) -> list[str]:
    """What is wrong with the open page: words on the console, requests that leave it, what runs out of it.

    And what keeps people from reading it, such as low contrast, by axe (https://github.com/dequelabs/axe-core).
    """
    found = [entry["message"] for entry in driver.get_log("browser")]
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            found += [] if url == file.as_uri() or url.startswith("data:") else [f"asked for {url}"]
    wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    found += [f"{wide} pixels wider than the window"] if wide > 0 else []
    for rule in Axe().run(driver)["violations"]:
        found += [f"{rule['id']}: {rule['help']}: {node['html'][:80]}" for node in rule["nodes"][:3]]
    return found
