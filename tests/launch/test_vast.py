"""Vast.ai: what the watcher of a rental does, against a market in a file."""

from pathlib import Path
from typing import Any

import pytest
from cloud_toys import JOB, RTX_4090, make_job_of
from services.fake_vast import KEY, Market

from lmlab.engine.run import Run
from lmlab.launch import cloud, remote, rental, vast, watcher
from lmlab.launch.job import Job
from lmlab.launch.rental import State

UNMIRRORED = JOB.model_copy(update={"mirror": None})
NEW = State(provider="vast", label="lmlab-rented", state="renting")


def test_the_first_bid_is_a_quarter_above_the_lowest_of_the_cheapest_offer(
    market: Market, run: Run
):
    state = watcher.turn(run, JOB, NEW, now=0.0)
    (asked,) = market.calls("create")
    assert (asked["offer"], asked["price"]) == (42, 0.2)
    assert (asked["image"], asked["disk"]) == ("pytorch/pytorch:latest", 50.0)
    assert (state.state, state.instance, state.bid_usd_per_hour) == ("starting", 701, 0.2)


def test_bid_and_disk_together_stay_within_the_price(market: Market, run: Run):
    watcher.turn(run, JOB.model_copy(update={"max_usd_per_hour": 0.19}), NEW, now=0.0)
    (asked,) = market.calls("create")
    assert asked["price"] == 0.17
    with pytest.raises(ValueError, match=r"launch\.cloud\.max_usd_per_hour"):
        make_job_of("launch.cloud.provider=vast", "launch.cloud.gpu=H100", check=True)


def test_the_next_offer_is_taken_where_the_cheapest_is_gone(market: Market, run: Run):
    with market.edit() as values:
        values["offers"][0]["taken"] = True
    watcher.turn(run, JOB, NEW, now=0.0)
    assert [one["offer"] for one in market.calls("create")] == [42, 43]
    assert len(market.instances) == 1


def test_a_gpu_that_nobody_offers_is_said_before_anything_is_rented(market: Market, run: Run):
    state = watcher.turn(run, JOB.model_copy(update={"gpu": "H100"}), NEW, now=0.0)
    assert state.state == "failed"
    assert "nobody offers 1 x H100 with 50 GB of disk for 0.5 USD an hour" in state.message
    assert market.instances == {}


def test_an_outbid_machine_gets_higher_bids_and_then_another_machine_goes_on(
    market: Market, run: Run
):
    state = started(market, run, JOB)
    market.outbid(701, min_bid=0.3)
    state = watcher.turn(run, JOB, state, now=20.0)
    assert market.calls("change bid") == [{"id": 701, "price": 0.375}]
    market.outbid(701, min_bid=0.45)
    state = watcher.turn(run, JOB, state, now=30.0)
    assert len(market.calls("change bid")) == 1, "the last bid is given time to win"
    state = watcher.turn(run, JOB, state, now=230.0)
    assert market.calls("change bid")[1:] == [{"id": 701, "price": 0.48}], "0.5 less the disk"
    market.outbid(701, min_bid=0.48)
    state = watcher.turn(run, JOB, state, now=500.0)
    assert market.calls("destroy") == [{"id": 701}]
    state = watcher.turn(run, JOB, state, now=501.0)
    assert list(market.instances) == [702]
    assert market.calls("create")[-1]["offer"] == 43, "another machine than the one that lost"
    assert (state.machines, state.failed_starts) == (2, 0)


def test_without_a_mirror_an_outbid_machine_is_kept_and_waited_for(market: Market, run: Run):
    state = started(market, run, UNMIRRORED)
    market.outbid(701, min_bid=0.6)
    for now in (20.0, 2000.0, 200_000.0):
        state = watcher.turn(run, UNMIRRORED, state, now=now)
    assert (state.state, list(market.instances)) == ("outbid", [701])
    assert "storage.to" in state.message
    market.set(701, actual_status="running")
    assert watcher.turn(run, UNMIRRORED, state, now=200_001.0).state == "running"


def test_machines_that_do_not_start_are_given_back_and_the_third_is_the_last(
    market: Market, run: Run
):
    with market.edit() as values:
        values["offers"].append(RTX_4090 | {"id": 44, "machine_id": 9, "min_bid": 0.3})
        values["offers"].append(RTX_4090 | {"id": 45, "machine_id": 10, "min_bid": 0.31})
    state, now = NEW, 0.0
    for number in (701, 702, 703):
        state = watcher.turn(run, JOB, state, now=now)
        market.set(number, actual_status="loading", status_msg="no such image")
        for waited in (1.0, rental.START_SECONDS - 1.0):
            state = watcher.turn(run, JOB, state, now=now + waited)
            assert list(market.instances) == [number], "an image takes its time"
        now += rental.START_SECONDS + 2.0
        state = watcher.turn(run, JOB, state, now=now)
        assert market.instances == {}
    assert state.state == "failed"
    assert "3 machines did not start" in state.message
    assert "no such image" in state.message
    assert [one["offer"] for one in market.calls("create")] == [42, 43, 44]


def test_a_machine_that_is_gone_is_replaced_where_another_can_go_on(market: Market, run: Run):
    state = started(market, run, JOB)
    lose_all(market)
    state = watcher.turn(run, JOB, state, now=20.0)
    assert market.instances == {}, "a list may be late"
    state = watcher.turn(run, JOB, state, now=200.0)
    assert watcher.turn(run, JOB, state, now=201.0).instance == 702


def test_a_machine_that_is_gone_with_the_only_copy_is_not_begun_anew(market: Market, run: Run):
    state = started(market, run, UNMIRRORED)
    lose_all(market)
    for now in (20.0, 200.0):
        state = watcher.turn(run, UNMIRRORED, state, now=now)
    assert (state.state, len(market.calls("create"))) == ("failed", 1)


def test_what_ended_is_fetched_and_the_machine_given_back(market: Market, run: Run):
    state = started(market, run, UNMIRRORED)
    leave_results(market, 701, exit_code=0)
    state = watcher.turn(run, UNMIRRORED, state, now=20.0)
    assert (state.state, state.exit_code, state.instance) == ("done", 0, None)
    assert market.instances == {}
    assert (run.folder / "results.jsonl").read_text() == "{}\n"
    assert (run.cloud / "machine.log").read_text() == "all is well\n"


@pytest.mark.parametrize(("code", "state"), [(75, "preempted"), (1, "failed"), (127, "failed")])
def test_another_exit_code_is_kept(market: Market, run: Run, code: int, state: str):
    before = started(market, run, JOB)
    leave_results(market, 701, exit_code=code)
    after = watcher.turn(run, JOB, before, now=20.0)
    assert (after.state, after.exit_code, market.instances) == (state, code, {})


def test_what_could_not_be_fetched_and_lies_nowhere_else_is_not_destroyed(
    market: Market, run: Run, monkeypatch: pytest.MonkeyPatch
):
    state = started(market, run, UNMIRRORED)
    leave_results(market, 701, exit_code=0)
    monkeypatch.setattr(remote, "fetch", unreachable)
    after = watcher.turn(run, UNMIRRORED, state, now=20.0)
    assert market.calls("stop") == [{"id": 701}]
    assert list(market.instances) == [701]
    assert "lmlab cancel scratch/rented" in after.message
    rental.write_state(run, after)
    with pytest.raises(ValueError, match="instance 701 still keeps"):
        cloud._begin(run, "vast")
    # With a mirror it is in the bucket, and the disk need not be paid.
    market.set(701, actual_status="running")
    after = watcher.turn(run, JOB, state, now=30.0)
    assert "s3://bucket/runs" in after.message
    assert market.instances == {}


def test_a_machine_cannot_write_outside_its_run_nor_into_what_watches_it(
    market: Market, run: Run, tmp_path: Path
):
    state = started(market, run, UNMIRRORED)
    folder = leave_results(market, 701, exit_code=0)
    (folder / "cloud").mkdir()
    (folder / "cloud" / "state.json").write_text("{}")
    (folder / "lock").write_text("{}")
    run.lock_path.write_text("mine")
    watcher.turn(run, UNMIRRORED, state, now=20.0)
    assert run.lock_path.read_text() == "mine"
    assert not (run.cloud / "state.json").exists()
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(remote.UnreachableError, match="cannot be unpacked"):
        fetch_again(market, run)


def test_the_budget_ends_the_rental(market: Market, run: Run):
    job = JOB.model_copy(update={"budget_usd": 1.0})
    state = started(market, run, job)
    leave_results(market, 701, exit_code=None)
    state = watcher.turn(run, job, state, now=10.0 + 4 * 3600)
    assert state.spent_usd == pytest.approx(4 * 0.22)
    assert state.state == "running"
    state = watcher.turn(run, job, state, now=10.0 + 5 * 3600)
    assert (state.state, market.instances) == ("over budget", {})
    assert "1.10 USD of 1.0 are spent" in state.message
    assert (run.folder / "results.jsonl").exists()


def test_a_second_machine_of_a_rental_that_was_cut_short_is_given_back(market: Market, run: Run):
    state = started(market, run, JOB)
    market.create(43, price=0.3, label=NEW.label, onstart="true")
    market.create(43, price=0.3, label="somebody-else", onstart="true")
    watcher.turn(run, JOB, state, now=20.0)
    assert market.calls("destroy") == [{"id": 702}]
    assert list(market.instances) == [701, 703]


def test_a_refusal_is_an_error_though_the_client_answers_0(market: Market, run: Run):
    state = started(market, run, JOB)
    rental.write_state(run, state)
    with market.edit() as values:
        values["stubborn"] = True
    with pytest.raises(vast.VastError, match="not now") as refused:
        cloud.cancel(run)
    assert KEY not in str(refused.value)
    assert rental.read_state(run) == state, "it may still cost"
    with market.edit() as values:
        values["stubborn"] = False
    assert cloud.cancel(run) == ["scratch/rented: gave instance 701 back"]
    found = rental.read_state(run)
    assert found is not None
    assert (found.state, market.instances) == ("cancelled", {})
    assert cloud.cancel(run) == []


def started(market: Market, run: Run, job: Job) -> State:
    """The first machine, running its command, at second 10."""
    watcher.turn(run, job, NEW, now=0.0)
    market.set(701, actual_status="running")
    state = watcher.turn(run, job, NEW.model_copy(update={"machines": 1}), now=10.0)
    assert (state.state, state.instance, state.ran) == ("running", 701, True)
    return state.model_copy(update={"bid_usd_per_hour": 0.2})


def lose_all(market: Market) -> None:
    """Machines vanish."""
    with market.edit() as values:
        values["instances"] = {}


def leave_results(market: Market, number: int, *, exit_code: int | None) -> Path:
    """What a command leaves on its machine; the folder of the run there."""
    home = market.machine(number) / "lmlab"
    folder = home / "runs" / "scratch" / "rented"
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text("{}\n")
    (home / "log").write_text("all is well\n")
    if exit_code is not None:
        (home / "exit").write_text(f"{exit_code}\n")
    return folder


def fetch_again(market: Market, run: Run) -> None:
    """Straight from the folder of the machine that was given back."""
    market.create(43, price=0.3, label=NEW.label, onstart="true")
    market.machine(702).rmdir()
    market.machine(701).rename(market.path.parent / "machine_702")
    market.set(702, actual_status="running")
    remote.remember(JOB, vast.Address("127.0.0.1", 20702), run)
    remote.fetch(JOB, run)


def unreachable(*_: Any) -> None:
    """Instead of a fetch."""
    raise remote.UnreachableError("ssh answered 255")
