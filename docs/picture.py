"""Makes `docs/console.png`: the console's page of a detector with the article's data.

    python docs/picture.py

Backtests the published live rows after their history, in a folder of its own, and opens the page in a headless
Chromium (`chromium` on the PATH). Fails when the picture is over 200 KB.
"""

import shutil
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from masthead.base.settings import Settings
from masthead.server import Server

AIR = Path(str(files("masthead.samples") / "air"))
PICTURE = Path(__file__).with_name("console.png")
MOST_BYTES = 200_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DETECTOR = {
    "name": "air",
    "mode": "backtest",
    "interval": "5m",
    "dimensions": ["LOCATION_ID"],
    "measures": ["CO", "SO2", "NO2"],
    "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
    "source": {
        "kind": "files",
        "paths": [str(AIR / "live_data_sample.csv")],
        "format": {"columns": ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]},
    },
    "history": {"paths": [str(AIR / "historic_data.json")]},
}


def take(address: str) -> None:
    """Write the picture of a page once its chart and both planted anomalies are drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1010}, color_scheme="light")
        page.goto(address)
        expect(page.locator(".nicegui-echart canvas").first).to_be_visible()
        for measure in ("CO", "SO2"):
            expect(page.get_by_role("cell", name=measure, exact=True)).to_be_visible()
        page.wait_for_timeout(1500)  # the chart's own animation
        page.screenshot(path=PICTURE)
        browser.close()


def main() -> None:
    """Make the picture and say how large it is."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder) / "data", port=0, mqtt_port=0)
        with Server(settings) as server:
            metrics = server.masthead.metrics
            metrics.create_detector(DETECTOR)
            metrics.backtest("air")
            while metrics.get_detector("air").state not in ("backtested", "failed"):
                time.sleep(0.2)
            assert server.addresses is not None
            take(f"{server.addresses.url}/ui/detectors/air")
    size = PICTURE.stat().st_size
    print(f"{PICTURE}: {size:,} bytes")
    assert size < MOST_BYTES, size


if __name__ == "__main__":
    main()
