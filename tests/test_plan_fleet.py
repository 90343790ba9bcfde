"""Planning a fleet: targets, the search for the cheapest mix, what is told if none will do."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, nx, orin, paper_costs
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cli import main
from jetsched.cluster.fanout import Here
from jetsched.cluster.mixes import CheapestMix, Mix
from jetsched.cluster.plan_fleet import FleetPlanning, PlannedFleet, Tried
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.targets import Target, hopeless_jobs, out_of_reach, parse_targets
from jetsched.cluster.truth import CostsAsTruth
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario
from jetsched.errors import InputError, NeverFitsError

# ---------------------------------------------------------------------------------------- targets


def test_targets_have_units_and_commas_between() -> None:
    assert parse_targets("p95<=30m, makespan < 8h,missed<=3") == [
        *(Target("p95", 1800.0), Target("makespan", 28800.0), Target("missed", 3.0)),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no target"),
        ("p95", "'p95' is no target"),
        ("p96<=1m", "'p96' is none of mean, p50"),
        ("p95<=30", "needs a unit"),
        ("p95<=0s", "no time to be met"),
        ("p95>=30m", "an upper limit"),
        ("p95<=1h,p95<=2h", "here twice"),
        ("missed<=3m", "no number of jobs"),
        ("missed<=-1", "no number of jobs"),
        ("mean<=nan", "not a duration"),
    ],
)
def test_what_is_no_target_is_told(text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        parse_targets(text)


def a_world(jobs: int = 12, orins: int = 1, deadline_s: float | None = None) -> Scenario:
    return Scenario(
        [
            a_job(str(i), ("tiny-gpt2", "distilgpt2")[i % 2], amount=1.0 + i, deadline_s=deadline_s)
            for i in range(jobs)
        ],
        [nx(), *(orin(i) for i in range(orins))],
        CostsAsTruth(paper_costs()),
        paper_costs,
    )


@pytest.mark.parametrize("name", ["mean", "p50", "p95", "p99", "makespan"])
def test_what_is_out_of_reach_no_run_achieves(name: str) -> None:
    """The figure of a run is never ruled out, and something below it is."""
    for orins in (1, 3):
        world = a_world(orins=orins)
        value = Target(name, 1.0).value(simulate("auto", world).metrics)
        assert value is not None
        assert out_of_reach(world, [Target(name, value)]) == ""
        assert out_of_reach(world, [Target(name, value / 10)]).startswith(f"{name} is at least")


def test_a_job_that_makes_a_target_impossible_is_named() -> None:
    world = a_world(deadline_s=500.0)
    (line,) = hopeless_jobs(world, [Target("makespan", 900.0)])
    assert "2 jobs cannot" in line and "job 11 " in line and "takes 20m" in line
    assert hopeless_jobs(world, [Target("makespan", 1200.0)]) == []
    (line,) = hopeless_jobs(world, [Target("missed", 5.0)])
    assert line.startswith("missed <= 5: 6 jobs cannot")
    assert hopeless_jobs(world, [Target("missed", 6.0)]) == []


def test_one_long_job_does_not_spoil_a_median() -> None:
    assert hopeless_jobs(a_world(), [Target("p50", 900.0)]) == []
    assert hopeless_jobs(a_world(), [Target("p99", 900.0)]) != []


# ----------------------------------------------------------------------------------------- search


@dataclass
class Does:
    will_do: bool
    certain: bool = False


def search(
    limits: Sequence[int], costs: Sequence[float], enough: Sequence[Sequence[int]]
) -> tuple[Mix | None, int]:
    """What is found where a mix will do that has as many boards as one of ``enough``."""

    def will_do(mix: Sequence[int]) -> bool:
        return any(all(n >= m for n, m in zip(mix, one, strict=True)) for one in enough)

    found = CheapestMix(limits, costs, lambda mixes: [Does(will_do(mix)) for mix in mixes])
    return found.run(doubts=0), len(found.tried)


@given(
    st.integers(1, 3).flatmap(
        lambda kinds: st.tuples(
            st.lists(st.integers(1, 6), min_size=kinds, max_size=kinds),
            st.lists(st.sampled_from([1.0, 1.5, 2.0, 7.0]), min_size=kinds, max_size=kinds),
            st.lists(
                st.lists(st.integers(0, 7), min_size=kinds, max_size=kinds), min_size=1, max_size=4
            ),
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_the_cheapest_mix_is_found(world: tuple[list[int], list[float], list[list[int]]]) -> None:
    """As by trying all of them: least cost, then fewest boards, then the first by its counts."""
    limits, costs, enough = world
    enough = [one for one in enough if any(one)] or [[1] * len(limits)]
    good = [
        (sum(n * c for n, c in zip(mix, costs, strict=True)), sum(mix), mix)
        for mix in product(*(range(limit + 1) for limit in limits))
        if any(all(n >= m for n, m in zip(mix, one, strict=True)) for one in enough)
    ]
    found, _ = search(limits, costs, enough)
    assert found == (min(good)[-1] if good else None)


def test_few_mixes_are_tried() -> None:
    """Of one kind it is a bisection; of two about as many as the frontier is long."""
    found, tried = search([1023], [1.0], [[700]])
    assert found == (700,) and tried <= 12
    found, tried = search([64, 64], [1.0, 3.0], [[i, 40 - 2 * i] for i in range(21)])
    assert found == (20, 0) and tried < 60


def test_where_nothing_will_do_one_trial_is_enough() -> None:
    assert search([64, 64], [1.0, 3.0], [[65, 0]]) == (None, 1)


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
@settings(max_examples=100, deadline=None)
def test_when_it_is_to_be_sure_nothing_is_assumed(good: set[Mix]) -> None:
    """Whatever mixes will do, among them that more boards may be worse: the cheapest is found."""
    search = CheapestMix([4, 4], [2.0, 3.0], lambda mixes: [Does(mix in good) for mix in mixes])
    ranked = sorted((2 * a + 3 * b, a + b, (a, b)) for a, b in good if a or b)
    assert search.run(doubts=None) == (ranked[0][-1] if ranked else None)
    assert search.doubtful == 0


def test_what_a_bound_rules_out_is_tried_by_nobody() -> None:
    """Where failures are certain there is nothing to doubt."""
    tried: list[Mix] = []

    def try_all(mixes: Sequence[Mix]) -> list[Does]:
        tried.extend(mixes)
        return [Does(sum(mix) >= 20, certain=True) for mix in mixes]

    assert CheapestMix([30, 30], [1.0, 2.0], try_all).run(doubts=None) == (20, 0)
    assert len(tried) == len(set(tried)) < 40


# --------------------------------------------------------------------------------- the whole of it


def planned(**options: Any) -> PlannedFleet:
    defaults: dict[str, Any] = {
        "target": "makespan<=3h",
        "models": "xavier-nx,orin-nano",
        "most": 6,
        "at_once": 1,
    }
    world = options.pop("world", WorldOptions(generate=24))
    engine = None if "at_once" in options else Here()
    return FleetPlanning.of(world, **{**defaults, **options}).run(engine=engine)


def will_do(found: PlannedFleet, mix: Mix) -> bool:
    world = scenario(replace(found.asked.world, counts=mix), 0)
    metrics = simulate(found.asked.policy, world).metrics
    return all(target.met(metrics) for target in found.asked.targets)


def test_the_mix_meets_the_target_and_no_cheaper_one_does() -> None:
    """Checked one by one, without the assumption that the search makes."""
    found = planned(price="xavier-nx=399,orin-nano=249")
    cost = found.asked.cost_of(found.best)
    assert will_do(found, found.best.mix) and cost is not None
    for mix in product(range(7), repeat=2):
        if any(mix) and 399 * mix[0] + 249 * mix[1] < cost:
            assert not will_do(found, mix), mix


def test_how_many_run_at_once_changes_nothing() -> None:
    one, two = (planned(at_once=n, target="p95<=2h,missed<=1") for n in (1, 2))
    assert one.to_json() == two.to_json()


def test_where_energy_counts_no_mix_that_will_do_takes_less() -> None:
    found = planned(cost="energy", most=3)
    least = found.best.energy_j
    assert least is not None
    for mix in product(range(4), repeat=2):
        if any(mix):
            world = scenario(replace(found.asked.world, counts=mix), 0)
            metrics = simulate(found.asked.policy, world).metrics
            if all(target.met(metrics) for target in found.asked.targets):
                assert metrics.energy_j is not None and metrics.energy_j >= least - 1e-6


def test_the_target_is_met_with_every_seed() -> None:
    found = planned(seeds=3)
    for seed in range(3):
        world = scenario(replace(found.asked.world, counts=found.best.mix), seed)
        metrics = simulate(found.asked.policy, world).metrics
        assert metrics.makespan_s is not None and metrics.makespan_s <= 3 * 3600


def test_a_mix_on_which_a_job_cannot_run_will_not_do() -> None:
    """GPT-2 is killed on the Xavier NX: no number of those is enough."""
    found = planned(price="xavier-nx=1,orin-nano=1000")
    assert found.best.mix[1] >= 1
    assert all(not tried.will_do for tried in found.tried if tried.mix[1] == 0)


def test_no_mix_within_the_limits_is_told_with_the_best_there_is() -> None:
    with pytest.raises(NeverFitsError) as error:
        planned(target="makespan<=1h", most=1)
    assert "no mix up to 1 x xavier-nx, 1 x orin-nano meets makespan <= 1h 00m" in str(error.value)
    assert "makespan is at least" in str(error.value)


def test_an_impossible_target_names_the_job() -> None:
    with pytest.raises(NeverFitsError, match=r"job \d+ \(.*\) takes .* on the fastest one"):
        planned(target="makespan<=5m", most=6)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_boards_without_a_data_sheet_come_with_the_run_times_of_a_trace(tmp_path: Path) -> None:
    """Ten jobs of 100 s on a, 50 s on b, all at once, within 200 s: five of a."""
    rows = [f"{n},0,100,50" for n in range(10)]
    trace = write(tmp_path / "t.csv", "job_id,arrival_s,run_s_a,run_s_b", *rows)
    world = WorldOptions(trace=trace)
    found = planned(world=world, models="a,b", target="makespan<=200s", price="a=1,b=3")
    assert found.best.mix == (5, 0)
    found = planned(world=world, models="a,b", target="makespan<=200s", price="a=1,b=1")
    assert found.best.mix in {(0, 3), (1, 2)} and sum(found.best.mix) == 3
    with pytest.raises(InputError, match="nothing tells the energy"):
        planned(world=world, models="a,b", target="makespan<=200s", cost="energy")


def test_the_chosen_mix_is_one_that_the_choice_rests_on() -> None:
    """Where more boards take less energy, it has more boards than it takes."""
    asked = FleetPlanning.of(
        WorldOptions(generate=3), target="p95<=3h", models="xavier-nx,orin-nano", cost="energy"
    )
    joules = {(1, 2): 5.0, (2, 2): 6.0, (2, 4): 4.0, (1, 3): 5.0}
    tried = {mix: Tried(mix, True, (1.0,), energy_j) for mix, energy_j in joules.items()}
    few = Tried((0, 2), False, (9.0,), 3.0)
    found = PlannedFleet(asked, tried[2, 4], [few, *tried.values()])
    assert found.frontier == [few, tried[2, 4], tried[1, 2]]


@pytest.mark.parametrize("cost", ["count", "energy"])
def test_the_verb_marks_the_chosen_mix(
    cost: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*more: str) -> str:
        words = f"--generate 30 --target p95<=3h --models xavier-nx,orin-nano --cost {cost}"
        monkeypatch.setattr("sys.argv", ["jetsched", "plan-fleet", *words.split(), *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    chosen = [line for line in run("--most", "4").splitlines() if "✓ chosen" in line]
    mix = json.loads(run("--most", "4", "--json"))["mix"]
    text = ", ".join(f"{count} x {model}" for model, count in mix.items() if count)
    assert len(chosen) == 1 and chosen[0].strip().startswith(text)


def test_a_fleet_file_gives_boards_and_prices(tmp_path: Path) -> None:
    fleet = write(
        tmp_path / "fleet.yaml",
        "devices:",
        "  - {model: xavier-nx, count: 7, price: 399}",
        "  - {model: orin-nano, price: 249}",
    )
    world = WorldOptions(generate=24, fleet=str(fleet))
    found = planned(world=world, models=None, cost="price")
    other = planned(price="xavier-nx=399,orin-nano=249")
    assert found.best.mix == other.best.mix and found.asked.prices == [399, 249]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": None}, "what boards there are"),
        ({"models": "orin-nano,"}, "names with commas between"),
        ({"models": "orin-nano,orin-nano"}, "here twice"),
        ({"models": "orin-nana"}, "no data sheet"),
        ({"most": 0}, "--most 0"),
        ({"most": 10_000}, "too many"),
        ({"cost": "energy", "most": 64}, "too many"),
        ({"cost": "beauty"}, "there are count, energy and price"),
        ({"cost": "price"}, "no price of xavier-nx"),
        ({"cost": "count", "price": "xavier-nx=1"}, "says nothing for"),
        ({"price": "xavier-nx=1"}, "no price of orin-nano"),
        ({"price": "xavier-nx=1,orin-nano=0"}, "is no price"),
        ({"price": "xavier-nx=1,orin-nano=nan"}, "is no price"),
        ({"price": "tx2=1"}, "none of the models"),
        ({"world": WorldOptions(generate=4, load=0.9)}, "--load is relative"),
        ({"world": WorldOptions(generate=4, counts=(1, 1))}, "--counts is what"),
        ({"policy": "nobody"}, "no policy 'nobody'"),
        ({"seeds": 0}, "--seeds 0"),
    ],
)
def test_options_that_make_no_sense_are_bad_input(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        planned(**options)


def test_json_has_all_that_was_tried() -> None:
    found = planned(most=3)
    told = json.loads(json.dumps(found.to_json()))
    assert told["mix"] == dict(zip(found.asked.models, found.best.mix, strict=True))
    assert len(told["tried"]) == len(found.tried) and told["cost_is"] == "count"
    assert {row["will_do"] for row in told["tried"]} == {True, False}
