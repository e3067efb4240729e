"""Two replicas on the chart's own settings and 200 definitions: ready after a start, a rolling update, a leader that is killed."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tests.cluster.rig import ControlPlane
from tests.e2e.conftest import Aws
from tests.e2e.kubelet import CONTROLLERS, Kubelet, Running
from tests.e2e.release import NAMESPACE, Release
from tests.standin import serving

from benchmarks import composites

TIMES = 3  # of each, the worst is told
AT_REST = 20.0  # seconds in which a new replica has nothing more to do


def measure() -> Iterator[tuple[str, str]]:
    count = composites.many(200)
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(controllers=CONTROLLERS) as plane,
        serving() as url,
        Kubelet(plane, Aws(url), Path(folder), NAMESPACE) as kubelet,
    ):
        release = Release(plane, Path(folder))
        release.install()
        rolled(plane)
        made = [composites.definition(f"Stack{index}") for index in range(count)]
        composites.apply(plane, *made, *(composites.composition(f"Stack{index}") for index in range(count)))
        composites.established(plane, [each["metadata"]["name"] for each in made])
        time.sleep(AT_REST)

        ready, handed = [], []
        for _ in range(TIMES):
            before = set(kubelet.pods)
            plane.kubectl("rollout", "restart", "deployment", "groundplane", "-n", NAMESPACE)
            rolled(plane)
            plane.wait("the old ones are gone", lambda old=before: old <= kubelet.past.keys())
            ready += [pod.ready_after for name, pod in kubelet.pods.items() if name not in before]
            handed.append(between(kubelet, [kubelet.past[name] for name in before]))
            time.sleep(AT_REST)
        yield (
            f"Pod ready after its start, {count} definitions: median, worst",
            f"{median(ready):.1f}, {max(ready):.1f} s",
        )
        yield "rolling update: nobody led for, at worst", f"{max(handed):.2f} s"

        killed = []
        for _ in range(TIMES):
            leader = plane.wait("one leads", lambda: leading(kubelet))
            assert leader.operator
            moment = time.time()
            leader.operator.kill()
            plane.wait("the other leads", lambda now=moment, old=leader: led_after(kubelet, now, other_than=old))
            killed.append(led_after(kubelet, moment, other_than=leader) - moment)
            time.sleep(AT_REST)
        yield "leader killed: another one leads after, at worst", f"{max(killed):.1f} s"


def rolled(plane: ControlPlane) -> None:
    plane.kubectl("rollout", "status", "deployment", "groundplane", "-n", NAMESPACE, "--timeout=300s")


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def lines(pod: Running) -> list[tuple[float, str]]:
    """When a Pod said what, by the wall clock."""
    assert pod.operator
    found = []
    for line in pod.operator.text().splitlines():
        if re.match(r'\{"time"', line):
            said = json.loads(line)
            found.append((datetime.fromisoformat(said["time"]).timestamp(), said["message"]))
    return found


def said(pod: Running, message: str) -> float:
    """When it said so last; 0: it has not."""
    return max((when for when, what in lines(pod) if what == message), default=0.0)


def leading(kubelet: Kubelet) -> Running | None:
    """The Pod that began to lead last."""
    last = max(kubelet.pods.values(), key=lambda pod: said(pod, "leading"), default=None)
    return last if last and said(last, "leading") and last.operator and last.operator.process else None


def led_after(kubelet: Kubelet, moment: float, *, other_than: Running) -> float:
    """When another one began to lead after that; 0: nobody has."""
    last = max((said(pod, "leading") for pod in kubelet.pods.values() if pod is not other_than), default=0.0)
    return last if last > moment else 0.0


def between(kubelet: Kubelet, past: list[Running]) -> float:
    """The longest time from a leader's being told to end until the next one led, over the Pods of a rolling update."""
    begun = sorted(said(pod, "leading") for pod in [*past, *kubelet.pods.values()] if said(pod, "leading"))
    gaps = []
    for pod in past:
        stopped = said(pod, "stopping")
        if said(pod, "leading") and (later := [when for when in begun if when > stopped]):
            gaps.append(later[0] - stopped)
    return max(gaps, default=0.0)
