"""A headless Chromium for tests of pages: what a person would see, what the page asked for, what it complained of."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def open_page(file: Path, width: int, scheme: str) -> Iterator[webdriver.Chrome]:
    """The file in a window of this width, pixels, in the colour scheme `light` or `dark`."""
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
        driver.get(file.as_uri())
        yield driver
    finally:
        driver.quit()


def problems(driver: webdriver.Chrome, file: Path) -> list[str]:
    """What is wrong with the open page: words on the console, requests that leave it, text that runs out of it."""
    found = [entry["message"] for entry in driver.get_log("browser")]
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            found += [] if url == file.as_uri() or url.startswith("data:") else [f"asked for {url}"]
    wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    found += [f"{wide} pixels wider than the window"] if wide > 0 else []
    low = driver.execute_script(CONTRAST)
    return found + [f"contrast {low:.1f} of some text"] * (low < 4.5)


#: The smallest contrast of text on the page's ground: WCAG 2.2 wants 4.5 (https://www.w3.org/TR/WCAG22/#contrast-minimum).
CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data; };
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
const ground = dark ? [18, 18, 18] : [255, 255, 255];
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
return Math.min(...[...document.querySelectorAll('p,td,th,h1,h2,li,a,strong')].map(element => {
  const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05); }));
"""
