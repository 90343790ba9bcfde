"""What a node says of itself, seen from the scheduler: closed boards get no job, lost ones do."""

from __future__ import annotations

from pathlib import Path

from live_world import BOARDS, LiveWorld, a_command
from local_agents import LocalAgents
from sensor_worlds import a_tree
from small_disk import fill, small_disk

from jetsched.records import Needs

BOTH = ("nx-1", "orin-1")


def test_a_job_runs_elsewhere_while_a_board_s_disk_is_full(tmp_path: Path) -> None:
    """The first try is lost at the start, not failed; the board is closed until there is room."""
    with small_disk(tmp_path / "nodes/nx-1", 4) as disk:
        agents = LocalAgents(tmp_path / "nodes", BOARDS, disk_min_mib=1.0)
        with LiveWorld(tmp_path, agents=agents) as world:
            world.until_devices(*BOTH)
            ballast = fill(disk)
            world.submit(a_command("1", "echo here"))
            attempts = world.until_state("1", "done", "failed", "lost")
            assert attempts[-1] == ("orin-1", "done")
            assert {outcome for _, outcome in attempts[:-1]} <= {"lost"}
            world.until(lambda s: "NoDisk" in s.fleet.closings.get("nx-1", {}))
            world.submit(a_command("2", "true", needs=Needs(("nx-1",))))
            reason = world.until(lambda s: s.reason("2"))
            assert reason.code == "NoDisk" and "MiB free" in reason.text
            ballast.unlink()
            assert world.until_state("2", "done", "failed", "lost") == [("nx-1", "done")]
            assert world.look(lambda s: s.fleet.closings.get("nx-1", {})) == {}


def test_a_disk_that_a_job_fills_costs_it_a_try_and_the_board_goes_on(tmp_path: Path) -> None:
    """What a killed attempt has written is thrown away, and there is room again."""
    with small_disk(tmp_path / "nodes/nx-1", 4) as disk:
        agents = LocalAgents(tmp_path / "nodes", BOARDS, disk_min_mib=1.0)
        with LiveWorld(tmp_path, agents=agents) as world:
            world.until_devices(*BOTH)
            run = f"case $PWD in {disk}*) head -c 9000000 /dev/zero > big || exit 1;; esac"
            world.submit(a_command("1", run))
            attempts = world.until_state("1", "done", "failed", "lost")
            assert attempts[0] == ("nx-1", "lost")
            assert "disk was full" in world.look(lambda s: s.jobs["1"].attempts[0].text)
            assert attempts[-1][1] == "done"
            world.wait(lambda: not (disk / "1-1" / "big").exists())
            world.until(lambda s: not s.fleet.closings.get("nx-1", {}))


def test_a_hot_board_cools_down_while_the_other_works(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    zone = root / "sys/class/thermal/thermal_zone1"
    (zone / "trip_point_0_type").write_text("critical\n")
    (zone / "trip_point_0_temp").write_text("95000\n")
    boards = {"nx-1": BOARDS["nx-1"]}
    agents = LocalAgents(tmp_path / "nodes", boards, root=str(root))
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices("nx-1")
        world.submit(a_command("1", "touch ready; sleep 600"))
        world.wait((tmp_path / "nodes/nx-1/1-1/ready").exists)
        (zone / "temp").write_text("93000\n")
        world.until(lambda s: "TooHot" in s.fleet.closings.get("nx-1", {}))
        assert world.until_state("1", "killed") == [("nx-1", "killed_heat")]
        world.submit(a_command("2", "true"))
        reason = world.until(lambda s: s.reason("2"))
        assert reason.code == "TooHot" and "93 C" in reason.text
        (zone / "temp").write_text("60000\n")
        assert world.until_state("2", "done", "failed", "lost") == [("nx-1", "done")]
