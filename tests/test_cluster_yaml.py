"""cluster.yaml is one that `ray up` takes, checked without a cloud: by Ray's own code, by the model of EC2's interface
that botocore carries, and here for what those let pass."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray._private.authentication.authentication_token_setup import _get_default_token_path
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
ONLY_RAYS = {"SubnetIds"}
"""Keys of a node_config that Ray takes out before it asks EC2."""


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def node_config_problems(node_config: dict[str, Any]) -> str:
    """What EC2 would say of a machine's configuration; empty where it would take it."""
    request = {name: value for name, value in node_config.items() if name not in ONLY_RAYS}
    shape = get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    return ParamValidator().validate({**request, "MinCount": 1, "MaxCount": 1}, shape).generate_report()


def test_ray_takes_the_file(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(cluster))
    assert re.fullmatch(r"[\w-]+", cluster["cluster_name"])


@pytest.mark.parametrize("node_type", ["head", "gpu_worker"])
def test_ec2_knows_every_key_of_a_machine(cluster: dict[str, Any], node_type: str) -> None:
    assert node_config_problems(cluster["available_node_types"][node_type]["node_config"]) == ""


def test_a_misspelt_key_of_a_machine_is_seen() -> None:
    problems = node_config_problems({"InstanceTyp": "m6i.large", "InstanceMarketOptions": {"MarketTipe": "spot"}})
    assert "InstanceTyp" in problems
    assert "MarketTipe" in problems


def test_the_head_holds_trials_and_trains_nothing(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "trial_slot": 32}
    assert "InstanceMarketOptions" not in head["node_config"]


def test_workers_are_spot_machines_with_a_gpu_from_none_to_four(cluster: dict[str, Any]) -> None:
    (worker,) = (kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"])
    assert (worker["min_workers"], worker["max_workers"], cluster["max_workers"]) == (0, 4, 4)
    assert worker["resources"]["GPU"] == 1
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


@pytest.mark.parametrize("image", ["head_image", "worker_image"])
def test_images_carry_the_projects_ray_and_python(cluster: dict[str, Any], project: dict[str, Any], image: str) -> None:
    tag = re.fullmatch(r"rayproject/ray:(\d+\.\d+\.\d+)-py(\d)(\d+)-(cpu|gpu)", cluster["docker"][image])
    assert tag
    ray_version, python_version = tag[1], f"{tag[2]}.{tag[3]}"
    (required,) = (wanted for wanted in map(Requirement, project["dependencies"]) if wanted.name == "ray")
    assert ray_version == ray.__version__
    assert ray_version in required.specifier
    assert python_version in SpecifierSet(project["requires-python"])


def test_the_project_is_copied_and_installed_from_where_it_is_copied(cluster: dict[str, Any]) -> None:
    mounts = cluster["file_mounts"]
    (installed,) = (path for path, source in mounts.items() if source == ".")
    assert any(re.search(rf"pip install .*{installed}$", command) for command in cluster["setup_commands"])
    here = {source: (ROOT / source).exists() for source in mounts.values() if not source.startswith("~")}
    assert here == {".": True}


def test_the_cluster_refuses_whoever_has_no_token(
    cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    # the one mounted file that a clone lacks: `ray get-auth-token --generate` writes it there
    assert Path(cluster["file_mounts"]["/home/ray/.ray/auth_token"]).expanduser() == _get_default_token_path()
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]


def test_the_dashboard_listens_on_loopback_only(cluster: dict[str, Any]) -> None:
    (start,) = (command for command in cluster["head_start_ray_commands"] if "--head" in command)
    assert "--dashboard-host=127.0.0.1" in start
