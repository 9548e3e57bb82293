"""Once ready, the generator has done all its one-time work: the first request is as quick as the next."""

import json
import subprocess
import sys
from pathlib import Path

from tests.services.conftest import service_environment

FILES_OPENED_BY_THE_FIRST_GENERATION = """
import asyncio, json, sys
import httpx
from services.generator.app import create
from services.generator.settings import GeneratorSettings

ready, opened = False, []

def note(event, arguments):
    if ready and event == "open" and str(arguments[0]).endswith((".py", ".pyc", ".so", ".j2", ".txt", ".md")):
        opened.append(arguments[0])

async def main():
    global ready
    sys.addaudithook(note)
    app = create(GeneratorSettings(_env_file=None, dry_run_mode=True, database_url="sqlite:///history.db"))
    transport = httpx.ASGITransport(app)
    local = httpx.AsyncClient(transport=transport, base_url="http://localhost")
    async with app.router.lifespan_context(app), local as client:
        while (await client.get("/ready")).status_code != 200:
            await asyncio.sleep(0.01)
        ready = True
        response = await client.post("/api/v2/generate-content", json={"preview_only": True})
        assert response.status_code == 200, response.text
        ready = False
    print(json.dumps(opened))

asyncio.run(main())
"""


def test_the_first_generation_loads_no_module_and_no_template(tmp_path: Path) -> None:
    script = [sys.executable, "-P", "-c", FILES_OPENED_BY_THE_FIRST_GENERATION]
    done = subprocess.run(script, cwd=tmp_path, env=service_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
