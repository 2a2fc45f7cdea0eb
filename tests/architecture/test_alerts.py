"""The alert rules that are shipped are the paging rules that the service explains."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from api.metrics import Metrics
from api.problems import PROBLEMS
from ledger.dialog.intents import OpenIntents
from ledger.worlds.paging import HANDOFF_NEAR_S, RULES
from tests.architecture.repository import ROOT

ALERTS = ROOT / "deploy" / "alerts.yaml"
SHIPPED = {
    alert["alert"]: alert
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for alert in group["rules"]
}


def test_every_rule_is_an_alert_and_no_other():
    """In the same order, with its world and its hours."""
    assert list(SHIPPED) == [rule.name for rule in RULES]
    for rule in RULES:
        labels = SHIPPED[rule.name]["labels"]
        severity = "page" if rule.at_night else "ticket"
        assert labels == {"world": rule.world, "severity": severity}


def test_history_pages_at_night_and_the_closed_world_waits():
    """What the worlds are for: everything of RML-3 calls, nothing of RML-1 does."""
    assert {rule.at_night for rule in RULES if rule.world == "RML3"} == {True}
    assert {rule.at_night for rule in RULES if rule.world == "RML1"} == {False}


def test_alerts_ask_for_metrics_that_there_are():
    """With labels that they have, none of which a business would recognise."""
    metrics = Metrics()
    metrics.refused("OVER_REFUND", "RML3", "warning")
    page = metrics.page(
        waiting=0,
        sizes={"shop": (1, 1)},
        quorums={},
        timestamps={},
        registered={},
        stopped=(),
        verified={},
        verified_ages={},
        intents=[
            OpenIntents(
                ledger="shop",
                standing="unknown",
                on_silence="ask",
                count=1,
                oldest_s=2.0,
                due_s=-1.0,
            )
        ],
    ).decode()
    told = {
        match[1]: set(re.findall(r'(\w+)="', match[2] or ""))
        for match in re.finditer(r"^(effect_ledger_\w+)(\{.*\})? ", page, re.MULTILINE)
    }
    told["effect_ledger_verification_bad"] = {"ledger"}

    for alert in SHIPPED.values():
        for name, labels in re.findall(r"(effect_ledger_\w+)(\{[^}]*\})?", alert["expr"]):
            assert set(re.findall(r"(\w+)=", labels)) <= told[name], alert["alert"]
    assert told["effect_ledger_intents"] == {"ledger", "state", "on_silence"}


def test_numbers_of_rules_and_alerts_agree():
    assert f"< {HANDOFF_NEAR_S}" in SHIPPED["EffectLedgerHandoffDue"]["expr"]
    severities = {row.severity for row in PROBLEMS.values() if row.world == "RML2"}
    assert {"critical", "error", "warning"} <= severities


@pytest.mark.parametrize("arguments", [("check", "alerts.yaml"), ("test", "alerts.test.yaml")])
def test_promtool_takes_the_rules_and_their_tests(arguments):
    """What fires when, by Prometheus' own evaluation."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NOT CHECKED: no promtool on the PATH, which evaluates the alert rules")
    what, file = arguments
    done = subprocess.run(
        [promtool, what, "rules", file],
        cwd=ALERTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
