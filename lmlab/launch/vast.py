"""Vast.ai through its own command-line client: offers, instances, bids. No policy.

The client answers 0 even where the server refused, so its words are read and not its exit code.
The API key is the client's business: VAST_API_KEY, or the file that `vastai set api-key` wrote.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from lmlab.launch.job import Job
from lmlab.launch.program import find_program

# The client itself tries three times for up to 120 s.
CALL_SECONDS = 400
GONE_SECONDS = 60
NUM_OFFERS = 20
Parsed = TypeVar("Parsed")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]*")
_KEY_IN_URL = re.compile(r"api_key=[^&\s]+")


class VastError(RuntimeError):
    """Vast.ai, or the way to it, refused."""


@dataclass(frozen=True)
class Offer:
    """A machine that could be rented; prices are USD an hour for the whole machine."""

    id: int
    machine: int
    gpu: str
    min_bid: float
    # Beside the bid: the disk.
    extra: float
    tera_flops: float


@dataclass(frozen=True)
class Address:
    """Where ssh reaches an instance."""

    host: str
    port: int


@dataclass(frozen=True)
class Instance:
    """A rented machine as Vast.ai sees it now."""

    id: int
    machine: int
    status: str
    message: str
    usd_per_hour: float
    min_bid: float
    address: Address | None


def client() -> str:
    """The client's path. Raises ValueError where it is not installed."""
    return find_program("vastai", install="pipx install vastai")


def search(job: Job, *, max_usd_per_hour: float) -> list[Offer]:
    """Interruptible offers of the job's GPU within the price, disk included; cheapest first."""
    query = (
        f"gpu_name={job.gpu.replace(' ', '_')} num_gpus={job.num_gpus} "
        f"disk_space>={job.disk_gb} dph_total<={max_usd_per_hour}"
    )
    asked = ["--interruptible", "--storage", str(job.disk_gb), "-o", "dph_total"]
    rows = _read("search", "offers", query, *asked, "--limit", str(NUM_OFFERS))
    offers = _parsed(_offer, rows)
    affordable = [one for one in offers if one.min_bid + one.extra <= max_usd_per_hour]
    return sorted(affordable, key=lambda one: one.min_bid + one.extra)


def create(offer: Offer, job: Job, *, bid: float, label: str, script: str) -> int:
    """Rent an offer at a bid; the instance's number."""
    machine = ["--image", job.image, "--disk", str(job.disk_gb), "--ssh", "--direct"]
    terms = ["--bid_price", str(bid), "--label", label, "--cancel-unavail"]
    answer = _read("create", "instance", str(offer.id), *machine, *terms, "--onstart-cmd", script)
    if "new_contract" not in answer:
        raise VastError(f"offer {offer.id} was not rented: {answer.get('msg', 'no reason given')}")
    return int(answer["new_contract"])


def find(label: str) -> list[Instance]:
    """The instances that carry a label."""
    rows = _read("show", "instances")
    return _parsed(_instance, [row for row in rows if row.get("label") == label])


def change_bid(instance: int, *, bid: float) -> None:
    """Bid another price for an instance."""
    _call("change", "bid", str(instance), "--price", str(bid))


def stop(instance: int) -> None:
    """Give the GPU back and keep the disk, which goes on costing a little."""
    _call("stop", "instance", str(instance))


def destroy(instance: int, *, label: str) -> None:
    """Give an instance back with all that is on it. Raises VastError while it is still there."""
    _call("destroy", "instance", str(instance), "-y")
    deadline = time.monotonic() + GONE_SECONDS
    while instance in [one.id for one in find(label)]:
        if time.monotonic() > deadline:
            raise VastError(
                f"instance {instance} is still there {GONE_SECONDS} s after it was destroyed; "
                "look at https://console.vast.ai/instances/"
            )
        time.sleep(1)


def _read(*arguments: str) -> Any:
    said = _call(*arguments)
    try:
        return json.loads(said)
    except json.JSONDecodeError:
        raise VastError(f"vastai {' '.join(arguments[:2])} said no JSON: {said[:200]!r}") from None


def _call(*arguments: str) -> str:
    url = os.environ.get("LMLAB_VAST_URL")
    command = [client(), *arguments, "--raw", *(["--url", url] if url else [])]
    what = f"vastai {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
            env=os.environ | {"VASTAI_NO_UPDATE_CHECK": "1"},
        )
    except subprocess.TimeoutExpired:
        raise VastError(f"{what} did not answer within {CALL_SECONDS} s") from None
    refusal = _refusal(done.stderr)
    if done.returncode != 0 or refusal is not None:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise VastError(f"{what}: {_without_key(refusal or last[0])}")
    return done.stdout


def _refusal(stderr: str) -> str | None:
    """What the server said where it refused: `{"error": true, "msg": ...}` on a line of its own."""
    for line in stderr.splitlines():
        if line.startswith('{"error": true'):
            said = json.loads(line)
            return f"{said.get('msg')} (status {said.get('status_code')})"
    return None


def _parsed(parse: Callable[[dict[str, Any]], Parsed], rows: list[dict[str, Any]]) -> list[Parsed]:
    try:
        return [parse(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise VastError(f"an answer in another form than is known: {error!r}") from None


def _without_key(text: str) -> str:
    """Messages go to a log."""
    key = os.environ.get("VAST_API_KEY")
    return _KEY_IN_URL.sub("api_key=...", text.replace(key, "...") if key else text)


def _offer(row: dict[str, Any]) -> Offer:
    min_bid = float(row["min_bid"])
    return Offer(
        id=int(row["id"]),
        machine=int(row["machine_id"]),
        gpu=str(row["gpu_name"]),
        min_bid=min_bid,
        extra=max(0.0, float(row["dph_total"]) - min_bid),
        tera_flops=float(row.get("total_flops") or 0.0),
    )


def _instance(row: dict[str, Any]) -> Instance:
    return Instance(
        id=int(row["id"]),
        machine=int(row.get("machine_id") or 0),
        # Null until the machine has heard of it.
        status=str(row.get("actual_status") or "created"),
        message=str(row.get("status_msg") or "").strip(),
        usd_per_hour=float(row.get("dph_total") or 0.0),
        min_bid=float(row.get("min_bid") or 0.0),
        address=_address(row),
    )


def _address(row: dict[str, Any]) -> Address | None:
    """The machine's own port where it has one, else Vast.ai's relay."""
    direct = (row.get("ports") or {}).get("22/tcp")
    host = row.get("public_ipaddr") if direct else row.get("ssh_host")
    port = direct[0]["HostPort"] if direct else row.get("ssh_port")
    if not host or not port:
        return None
    host = str(host).strip()
    # It becomes a line of an ssh configuration.
    if not _HOST.fullmatch(host):
        raise VastError(f"{host!r} is no host name")
    return Address(host, int(port))
