"""`make scenarios`: play ours, on one control plane one after the other, then those recorded from Crossplane if they lie beside the repository.

python -m tests.scenarios [NAME…]      ours of these names, or, without any, all and the recorded ones
python -m tests.scenarios --fast       a fixed third of ours: what CI plays
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import build
from tests.cluster.rig import ControlPlane
from tests.e2e.conftest import QUICK, Operator
from tests.scenarios.player import Play, Scenario, Unmet, scenarios
from tests.standin import serving

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = REPOSITORY.parent / "shared"
OPTIONS = (*QUICK, "--activations", "*.aws.upbound.io")  # no kind of a scenario is active from the start
FAST = frozenset({"namespaced-composite", "definition-rules", "usage-in-a-namespace", "deleted-with-its-composition"})


def main(args: list[str]) -> int:
    names = {arg for arg in args if not arg.startswith("-")} or (set(FAST) if "--fast" in args else set())
    chosen = [each for each in scenarios() if not names or each.name in names]
    if unknown := names - {each.name for each in chosen}:
        print(f"no scenario {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    failed = play(chosen)
    if not args and RECORDED.joinpath("scenarios").is_dir():
        failed += recorded()
    return 1 if failed else 0


def play(chosen: list[Scenario]) -> int:
    """How many did not go as they should."""
    failed = 0
    with ControlPlane() as plane, serving(slow=1.0) as endpoint, tempfile.TemporaryDirectory() as folder:
        plane.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        plane.wait_for_kinds()
        log = Path(folder) / "operator.log"
        operator = Operator(plane.kubeconfig_of("operator"), endpoint, log, OPTIONS)
        operator.start()
        try:
            plane.wait("the operator leads", operator.leads)
            for scenario in chosen:
                begun = time.monotonic()
                try:
                    Play(plane).run(scenario)
                    verdict = "holds"
                except Unmet as error:
                    failed, verdict = failed + 1, f"DIFFERS: {error}"
                print(f"{scenario.name}: {verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
        finally:
            operator.stop()
    return failed


def recorded() -> int:
    """Play what was recorded from Crossplane v1.20, with strict upstream behaviour: how many differ is told, not judged, for upstream has faults."""
    folders = sorted(str(path.parent) for path in RECORDED.glob("scenarios/*/upstream.json"))
    command = [sys.executable, str(RECORDED / "bench" / "scenarios.py"), "check", *folders, "--jobs", "2"]
    command += ["--crds", str(REPOSITORY / "crds"), "--", sys.executable, "-m", "groundplane.cli.main", "run"]
    path = os.pathsep.join([str(REPOSITORY / "operator"), str(REPOSITORY)])
    environment = os.environ | {"RIG_BIN": str(build.binaries()), "PYTHONPATH": path}
    subprocess.run([*command, "--strict-upstream"], env=environment, check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
