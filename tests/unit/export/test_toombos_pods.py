"""The pods of a cluster in which toombos itself runs: the schedule, the smoke test, and load."""

import tomllib

import pytest
import yaml

from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import run_export
from toombos_cli.export.toombos_pods import PLACE, cron_time
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.schedule import Job

OWN = """
extends = "toombos"
[schedule.weekly-smoke]
command = ["smoke"]
at = "04:05"
weekday = "Sun"
"""


def export(project, text=OWN):
    (project / "toombos.toml").write_text(text)
    return run_export(load_manifest(project), ExportEngine.KUBERNETES, output=project / "out", check=True)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return export(tmp_path_factory.mktemp("pods")).output


def objects_in(path):
    return {one["kind"]: one for one in yaml.safe_load_all(path.read_text())}


def container_of(job):
    return job["spec"]["template"]["spec"]["containers"][0]


def test_a_job_that_asks_the_services_is_a_cron_job(output):
    jobs = {
        one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all((output / "base/schedule.yaml").read_text())
    }
    assert jobs["toombos-weekly-smoke"]["schedule"] == "5 4 * * 0"
    assert container_of(jobs["toombos-weekly-smoke"]["jobTemplate"])["command"] == ["toombos", "smoke", "--at", PLACE]
    assert jobs.keys() == {"toombos-health", "toombos-weekly-smoke"}


def test_a_job_on_files_is_listed_with_its_reason(tmp_path):
    listed = {item.what: item.reason for item in export(tmp_path).left_out}
    assert "project directory" in listed["schedule.backup"]


TIMES = {
    "every few minutes": (Job(command=("health",), every_minutes=5), "*/5 * * * *"),
    "every hour": (Job(command=("health",), every_minutes=60), "0 * * * *"),
    "daily": (Job(command=("health",), at="02:30"), "30 2 * * *"),
    "on a weekday": (Job(command=("health",), at="23:00", weekday="Sat"), "0 23 * * 6"),
}


@pytest.mark.parametrize(("job", "written"), TIMES.values(), ids=TIMES.keys())
def test_the_times_of_a_job(job, written):
    assert cron_time(job) == written


def test_the_pods_have_the_manifest_and_the_addresses_inside_the_cluster(output):
    text = objects_in(output / "base/toombos.yaml")["ConfigMap"]["data"]["toombos.toml"]
    place = tomllib.loads(text)["places"][PLACE]
    assert text.startswith("\nextends")
    assert {name: address["url"] for name, address in place["services"].items()} == {
        "crm": "http://crm:8001",
        "platform": "http://platform:8002",
        "generator": "http://generator:8000",
    }
    assert (place["load"], place["writes"]) == (False, False)


def test_smoke_is_a_job_of_its_own_directory(output):
    job = objects_in(output / "smoke/job.yaml")["Job"]
    assert container_of(job)["command"] == ["toombos", "smoke", "--wait", "60", "--at", PLACE]
    assert "smoke" not in yaml.safe_load((output / "base/kustomization.yaml").read_text())["resources"]


def test_the_workers_of_locust_find_their_master_and_know_no_secret(output):
    documents = list(yaml.safe_load_all((output / "load/locust.yaml").read_text()))
    jobs = {one["metadata"]["name"]: one for one in documents if one["kind"] == "Job"}
    master, worker = jobs["toombos-load-master"], jobs["toombos-load-worker"]
    service = next(one for one in documents if one["kind"] == "Service")
    assert service["spec"]["selector"].items() <= master["spec"]["template"]["metadata"]["labels"].items()
    words = container_of(worker)["command"]
    assert words[words.index("--master-host") + 1] == service["metadata"]["name"]
    assert int(words[words.index("--master-port") + 1]) == service["spec"]["ports"][0]["port"]
    asked = container_of(master)["command"]
    assert int(asked[asked.index("--locust-workers") + 1]) == worker["spec"]["parallelism"]
    assert "envFrom" not in container_of(worker)


SECRETS = {
    "in a header of a smoke step": (
        '[[smoke]]\nname = "s"\nservice = "crm"\npath = "/"\nheaders = { Authorization = "Bearer Canary-1-xY9z" }\n'
    ),
    "in a command": '[services.crm]\ncommand = ["crm", "--password", "Canary-1-xY9z"]\n',
    "in a header of the load": '[load]\nservice = "crm"\nheaders = { X-Api-Key = "Canary-1-xY9z" }\n',
}


@pytest.mark.parametrize("written", SECRETS.values(), ids=SECRETS.keys())
def test_a_manifest_with_a_secret_gets_into_no_pod(tmp_path, written):
    report = export(tmp_path, f"{OWN}{written}")
    texts = {str(path): path.read_text() for path in report.output.rglob("*") if path.is_file()}
    assert [name for name, text in texts.items() if "Canary" in text] == []
    assert "schedule, smoke, load" in {item.what for item in report.left_out}


def test_an_env_file_that_must_be_there_is_named(tmp_path):
    (tmp_path / "prod.env").write_text("A=1\n")
    report = export(tmp_path, f'env_files = ["prod.env"]\n{OWN}')
    (reason,) = (item.reason for item in report.left_out if item.what == "schedule, smoke, load")
    assert "prod.env?" in reason


def test_a_wheel_in_the_project_is_installed_in_the_images(tmp_path):
    wheel = "toombos-1.0.0-py3-none-any.whl"
    (tmp_path / wheel).touch()
    output = export(tmp_path).output
    assert f'COPY ["{wheel}", "/tmp/"]' in (output / "toombos.Dockerfile").read_text()
    assert f"pip install --no-cache-dir /tmp/{wheel}" in (output / "python.Dockerfile").read_text()


@pytest.mark.parametrize("name", ["mode", "toombos", "waiting", "kustomization"])
def test_a_service_with_the_name_of_another_file_keeps_both(tmp_path, name):
    text = f'name = "x"\n[services.{name}]\ncommand = ["python3", "x.py"]\nport = 18999\n'
    output = export(tmp_path, text).output
    assert "Deployment" in objects_in(output / "base" / "services" / f"{name}.yaml")
    assert (output / "base" / "mode.yaml").exists()
