"""The objects that are exported for Kubernetes."""

import pytest
import yaml

from toombos_cli.base.results import Verdict
from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import run_export
from toombos_cli.manifest.reading.loader import load_manifest


@pytest.fixture(scope="module")
def objects(exported):
    """The objects of the base by kind and name."""
    output = exported[ExportEngine.KUBERNETES].output
    found = [
        document
        for path in output.rglob("*.yaml")
        if "overlays" not in path.parts
        for document in yaml.safe_load_all(path.read_text())
    ]
    return {(one["kind"], one["metadata"]["name"]): one for one in found if one["kind"] != "Kustomization"}


@pytest.fixture(scope="module")
def pods(objects):
    kinds = ("Deployment", "Job")
    return {name: one["spec"]["template"]["spec"] for (kind, name), one in objects.items() if kind in kinds}


@pytest.mark.parametrize("name", ["the packaged system", "the shop"])
def test_the_schemas_of_kubernetes_accept_every_object(shop, tmp_path, name):
    project = shop if name == "the shop" else tmp_path
    report = run_export(load_manifest(project), ExportEngine.KUBERNETES, output=None, check=True)
    assert [(check.verdict, check.detail) for check in report.checks] == [(Verdict.PASS, "")]


def test_each_dependency_is_waited_for_by_what_the_manifest_expects(pods):
    waits = {one["name"]: one["command"] for one in pods["web"]["initContainers"]}
    assert waits.keys() == {"wait-for-migrate", "wait-for-cache", "wait-for-db"}
    assert "job/migrate" in waits["wait-for-migrate"]
    assert waits["wait-for-cache"][-1] == "until nc -z cache 6379; do sleep 1; done"


def test_a_wait_for_a_path_judges_status_and_header_as_the_probe_does(pods):
    (wait,) = pods["front"]["initContainers"]
    assert "http://web:8100/health" in wait["command"][-1]
    assert "204)" in wait["command"][-1]
    assert '"${PROBE_KEY}"' in wait["command"][-1]
    assert wait["envFrom"] == [{"secretRef": {"name": "shop-env"}}]


def test_a_pod_that_waits_for_a_task_may_read_jobs(objects, pods):
    assert pods["web"]["serviceAccountName"] == "shop-waiting"
    assert objects["Role", "shop-waiting"]["rules"][0]["resources"] == ["jobs"]


def test_the_probes_ask_what_the_manifest_asks(pods):
    container = pods["web"]["containers"][0]
    assert container["startupProbe"]["failureThreshold"] == 12
    assert "204)" in container["readinessProbe"]["exec"]["command"][-1]
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"


def test_a_service_that_toombos_does_not_restart_has_no_liveness_probe(pods):
    assert not any("livenessProbe" in pod["containers"][0] for name, pod in pods.items() if name != "web")


def test_a_task_is_a_job_that_runs_once(objects):
    spec = objects["Job", "migrate"]["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 300)


def test_what_keeps_data_has_a_claim(objects):
    assert ("PersistentVolumeClaim", "db-data") in objects
    assert ("PersistentVolumeClaim", "web-data") not in objects
    spec = objects["Deployment", "db"]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "db-data"}


def test_no_pod_shares_a_volume_or_a_port_of_its_machine(pods):
    volumes = [volume["name"] for pod in pods.values() for volume in pod.get("volumes", ())]
    assert len(set(volumes)) == len(volumes)
    assert not any("ports" in pod["containers"][0] for pod in pods.values())


def test_the_data_outlives_the_services(objects, exported):
    claims = (exported[ExportEngine.KUBERNETES].output / "base" / "claims.yaml").read_text()
    assert claims.count("kind: PersistentVolumeClaim") == sum(kind == "PersistentVolumeClaim" for kind, _ in objects)


def test_every_mount_has_its_volume(pods):
    mounted = {
        name: {mount["name"] for mount in pod["containers"][0].get("volumeMounts", ())} for name, pod in pods.items()
    }
    assert mounted == {name: {volume["name"] for volume in pod.get("volumes", ())} for name, pod in pods.items()}


def test_a_wait_needs_no_image_but_the_services_own(pods):
    waits = {one["name"]: one["image"] for one in pods["web"]["initContainers"]}
    assert waits["wait-for-cache"] == waits["wait-for-db"] == pods["web"]["containers"][0]["image"]


def test_a_secret_is_taken_from_the_secret_of_the_system(pods):
    env = {one["name"]: one for one in pods["web"]["containers"][0]["env"]}
    assert env["SECRET_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "shop-env", "key": "SECRET_KEY"}


def test_variables_come_from_the_weakest_to_the_strongest(pods):
    sources = [next(iter(source.values()))["name"] for source in pods["web"]["containers"][0]["envFrom"]]
    assert sources == ["web-defaults", "shop-env", "web-settings", "shop-mode"]


def test_an_optional_service_does_not_run(objects):
    assert objects["Deployment", "front"]["spec"]["replicas"] == 0


def test_another_signal_than_term_is_sent_before(pods):
    assert "kill -QUIT 1" in pods["worker"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]


def test_metrics_are_annotated(objects):
    annotations = objects["Deployment", "web"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == "/metrics"


def test_a_mode_is_an_overlay(exported):
    overlay = exported[ExportEngine.KUBERNETES].output / "overlays" / "test"
    assert yaml.safe_load((overlay / "mode.yaml").read_text())["data"] == {"SHOP_MODE": "test"}
    assert yaml.safe_load((overlay / "kustomization.yaml").read_text())["resources"] == ["../../base"]
