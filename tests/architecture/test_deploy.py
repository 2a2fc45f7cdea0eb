"""The image, the compose file and the roles agree with the program they run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.app import ROUTES
from api.routes.operation import OPEN
from ledger.settings import read_settings
from ledger.storage.database import ERASER, OWNER, READER, WRITER
from tests.architecture.repository import ROOT

DEPLOY = ROOT / "deploy"
IMAGE = (DEPLOY / "Containerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
ROLES = (DEPLOY / "roles.sql").read_text("utf-8")

TOOLS = ("hadolint", "check-jsonschema", "shellcheck")


def test_the_deploy_files_pass_the_tools_made_for_them():
    tools = Path(sys.executable).parent
    if not all((tools / tool).exists() for tool in TOOLS):
        pytest.skip("NOT CHECKED: the tools for the deploy files come with the dev extra")
    done = subprocess.run(
        ["bash", DEPLOY / "lint"],
        env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_health_check_asks_a_path_that_needs_no_key():
    [path] = re.findall(r"\+ '(/\w+)', timeout", IMAGE)
    [route] = [route for route in ROUTES if route.path == path]

    assert route.openapi_extra == OPEN


def test_the_health_check_is_a_program_that_runs():
    """It is Python in JSON in a shell-less line: three places to make a mistake."""
    [line] = re.findall(r"^    CMD (\[.*\])$", IMAGE, re.MULTILINE)
    program, flag, code = yaml.safe_load(line)

    assert (program, flag) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")


def test_image_and_compose_file_mean_one_data_directory():
    [data_dir] = re.findall(r"EFFECT_LEDGER_DATA_DIR=(\S+)", IMAGE)

    assert f"\nVOLUME {data_dir}\n" in IMAGE
    assert COMPOSE["services"]["ledger"]["volumes"] == [f"signer:{data_dir}"]
    # A volume takes its owner from the directory it covers: the user of the image.
    assert re.search(rf"install --directory --owner=effect-ledger .*\\\n\s+{data_dir}\n", IMAGE)
    assert "\nUSER 10001:10001\n" in IMAGE


def test_image_and_compose_file_mean_the_port_of_the_service():
    [port] = [each.value for each in read_settings({}).lines if each.name.endswith("_PORT")]

    assert f"EFFECT_LEDGER_PORT={port}" in IMAGE
    assert f"\nEXPOSE {port}\n" in IMAGE
    assert COMPOSE["services"]["ledger"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_image_takes_what_the_build_needs_and_nothing_else():
    """What may be copied is listed; keys and data beside the checkout stay out."""
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        name
        for line in re.findall(r"^COPY (?!--)(.*)$", IMAGE, re.MULTILINE)
        for name in line.split()[:-1]
    }

    assert ignored[0] == "*"
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_roles_of_a_database_of_yours_are_those_the_program_takes_on():
    made = set(re.findall(r"^create role (\w+)", ROLES, re.MULTILINE))

    assert made == {OWNER, WRITER, READER, ERASER, "effect_ledger_service"}


def test_only_the_owner_migrates_and_only_the_writer_serves():
    """Each container has the one login it needs, and the signer's record where it signs."""
    services = COMPOSE["services"]
    urls = {
        name: services[name]["environment"]["EFFECT_LEDGER_DATABASE_URL"]
        for name in ("migrate", "ledger")
    }

    assert f"//{OWNER}:" in urls["migrate"]
    assert "//effect_ledger_service:" in urls["ledger"]
    assert "volumes" not in services["migrate"]


def test_the_image_is_built_here_and_looked_for_nowhere_else():
    services = COMPOSE["services"]

    assert services["ledger"]["image"] == services["migrate"]["image"]
    assert "build" in services["migrate"]
    assert services["ledger"]["pull_policy"] == "never"


def test_the_database_is_waited_for_where_it_will_be_asked():
    """While its roles are being made, PostgreSQL's image answers on its socket alone."""
    test = COMPOSE["services"]["postgres"]["healthcheck"]["test"]

    assert "--host=127.0.0.1" in test
    assert COMPOSE["services"]["migrate"]["depends_on"]["postgres"] == {
        "condition": "service_healthy"
    }
    assert COMPOSE["services"]["ledger"]["depends_on"]["migrate"] == {
        "condition": "service_completed_successfully"
    }


def test_the_database_lies_in_the_volume_whatever_its_version():
    """Images of 17 and before have a volume of their own below it, which would win."""
    postgres = COMPOSE["services"]["postgres"]
    [volume] = [each for each in postgres["volumes"] if each.startswith("database:")]
    directory = volume.partition(":")[2]

    assert postgres["environment"]["PGDATA"].startswith(f"{directory}/")
    assert not postgres["environment"]["PGDATA"].startswith(f"{directory}/data")


def test_every_variable_of_the_compose_file_can_be_chosen():
    """Those without a default are in the example; a password has none."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    example = (DEPLOY / "example.env").read_text("utf-8")
    needed = set(re.findall(r"\$\{(\w+):\?", text))

    assert needed == {"POSTGRES_PASSWORD", "OWNER_PASSWORD", "WRITER_PASSWORD"}
    assert all(f"\n{name}=\n" in example for name in needed)


@pytest.mark.parametrize("name", ["create-database", "lint"])
def test_scripts_can_be_run(name):
    assert os.access(DEPLOY / name, os.X_OK)
    assert shutil.which("bash")
