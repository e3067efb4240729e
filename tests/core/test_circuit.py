"""When a composite's circuit opens, what passes meanwhile, when it closes, and what is kept."""

from groundplane.core.circuit import PACE, SOURCES, Circuits
from groundplane.core.objects import Key

A, B = (Key("example.org/v1", "XThing", "", name) for name in "ab")


def admitted(circuits, key, times, now, cost=2.0, source="ConfigMap/loud (team)"):
    return [circuits.admit(key, source, cost, now) for _ in range(times)]


def test_fifty_updates_pass_and_the_next_one_opens_it_for_that_composite_alone():
    circuits = Circuits()
    assert {each.result for each in admitted(circuits, A, 50, 0.0)} == {"Allowed"}
    [opening, dropped] = admitted(circuits, A, 2, 0.0)
    assert opening == (0.0, "HalfOpenAllowed", "opened"), "what opens it is still reconciled, to say so"
    assert dropped == (PACE, "Dropped", "")
    assert circuits.told(A, 1.0) == ("ConfigMap/loud (team)", 299.0)
    assert circuits.told(B, 1.0) == ("", 0.0)
    assert admitted(circuits, B, 1, 0.0)[0].result == "Allowed"


def test_while_it_is_open_one_in_ten_seconds_passes_and_what_is_dropped_is_due_then():
    circuits = Circuits(burst=2.0)
    results = [circuits.admit(A, "x", 2.0, now / 10) for now in range(0, 600)]
    passed = [index / 10 for index, each in enumerate(results) if not each.after]
    assert passed == [0.0, 0.1, 10.1, 20.1, 30.1, 40.1, 50.1]
    assert all(each.after <= PACE for each in results)


def test_it_closes_after_its_cooldown_and_opens_again_if_the_storm_goes_on():
    circuits = Circuits(burst=4.0, rate=1.0, cooldown=60.0)
    admitted(circuits, A, 3, 0.0)
    assert circuits.told(A, 59.9)[0]
    assert circuits.told(A, 60.0) == ("", 0.0)
    turned = [circuits.admit(A, "x", 2.0, 60.0).turned for _ in range(3)]
    assert turned == ["closed", "", "opened"]


def test_tokens_come_back_with_time():
    circuits = Circuits(burst=10.0, rate=1.0)
    for second in range(1000):
        assert circuits.admit(A, "x", 1.0, float(second)).result == "Allowed"


def test_the_loudest_of_the_latest_is_named():
    circuits = Circuits(burst=1.0)
    for _ in range(30):
        circuits.admit(A, "old", 1.0, 0.0)
    for number in range(SOURCES):
        circuits.admit(A, "new" if number % 3 else "other", 1.0, 0.0)
    assert circuits.told(A, 0.0)[0] == "new"


def test_what_is_calm_again_is_forgotten_and_what_is_open_is_not():
    circuits = Circuits(burst=100.0, rate=1.0, cooldown=300.0)
    admitted(circuits, B, 60, 0.0)
    for number in range(10_000):
        circuits.admit(A._replace(name=f"{number}"), "x", 1.0, number / 10)
        assert len(circuits) <= 4_002
        if number == 2_999:
            assert circuits.told(B, 299.9)[0]
    circuits.admit(A, "x", 1.0, 3_000.0)
    assert len(circuits) == 1
    circuits.forget(A)
    assert len(circuits) == 0
