"""A small Vast.ai: a market in a file, its HTTP API for the real client, stand-ins for programs.

`python fake_vast.py vastai ...` answers like the client, `python fake_vast.py ssh ...` runs the
command in the folder of the machine that the ssh configuration names. FAKE_VAST names the file.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "key-0123456789abcdef"
DISK_USD = 0.02


class RefusedError(Exception):
    """What the server answers with a status of 400."""


class Market:
    """Offers and instances; every call is one line of `calls`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def edit(self) -> Iterator[dict[str, Any]]:
        """The market's values, written back when left; one process at a time."""
        with self.path.with_suffix(".guard").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            values = json.loads(self.path.read_text())
            try:
                yield values
            finally:
                self.path.write_text(json.dumps(values))

    def open(self, *offers: dict[str, Any], boots: bool = False) -> "Market":
        """Begin; with `boots` a machine comes up when it is looked at the second time."""
        values = {"offers": offers, "instances": {}, "calls": [], "next": 700, "boots": boots}
        self.path.write_text(json.dumps(values))
        return self

    @property
    def instances(self) -> dict[int, dict[str, Any]]:
        """What is rented now."""
        rows = json.loads(self.path.read_text())["instances"]
        return {int(number): row for number, row in rows.items()}

    def calls(self, what: str) -> list[dict[str, Any]]:
        """The arguments of every call of a kind."""
        found = json.loads(self.path.read_text())["calls"]
        return [arguments for kind, arguments in found if kind == what]

    def machine(self, number: int) -> Path:
        """The home folder on a machine."""
        folder = self.path.parent / f"machine_{number}"
        folder.mkdir(exist_ok=True)
        return folder

    def set(self, number: int, **values: Any) -> None:
        """Something happens to an instance."""
        with self.edit() as market:
            market["instances"][str(number)] |= values

    def outbid(self, number: int, *, min_bid: float) -> None:
        """Somebody else pays more."""
        self.set(number, actual_status="stopped", min_bid=min_bid)

    def search(self, filters: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Offers within the filters that are known here."""
        with self.edit() as market:
            market["calls"].append(["search", filters])
            return [one for one in market["offers"] if _within(one, filters)]

    def create(self, offer: int, **asked: Any) -> dict[str, Any]:
        """Rent an offer: `price`, `label`, `onstart`, `disk`, `image`."""
        with self.edit() as market:
            market["calls"].append(["create", {"offer": offer, **asked}])
            found = next((one for one in market["offers"] if one["id"] == offer), None)
            if found is None or found.get("taken"):
                raise RefusedError(f"offer {offer} is not available")
            if asked["price"] < found["min_bid"]:
                raise RefusedError("the bid is too low")
            number = market["next"] = market["next"] + 1
            market["instances"][str(number)] = {
                "id": number,
                "machine_id": found["machine_id"],
                "actual_status": None,
                "status_msg": "",
                "label": asked["label"],
                "min_bid": found["min_bid"],
                "bid": asked["price"],
                "dph_total": asked["price"] + DISK_USD,
                "ssh_host": "127.0.0.1",
                "ssh_port": 20000 + number,
                "onstart": asked["onstart"],
                "start_date": 0,
                "extra_env": [["AWS_SECRET_ACCESS_KEY", KEY]],
            }
            return {"success": True, "new_contract": number}

    def show(self) -> list[dict[str, Any]]:
        """All instances; looking lets time pass for those that come up."""
        with self.edit() as market:
            market["calls"].append(["show", {}])
            before = json.loads(json.dumps(list(market["instances"].values())))
            if market["boots"]:
                for row in market["instances"].values():
                    if row["actual_status"] in (None, "loading"):
                        self._boot(row)
            return before

    def change_bid(self, number: int, price: float) -> dict[str, Any]:
        """A winning bid starts the machine again."""
        with self.edit() as market:
            market["calls"].append(["change bid", {"id": number, "price": price}])
            row = market["instances"][str(number)]
            row |= {"bid": price, "dph_total": price + DISK_USD}
            if price >= row["min_bid"]:
                row["actual_status"] = "loading"
            return {"success": True}

    def stop(self, number: int) -> dict[str, Any]:
        """The disk stays."""
        with self.edit() as market:
            market["calls"].append(["stop", {"id": number}])
            market["instances"][str(number)]["actual_status"] = "stopped"
            return {"success": True}

    def destroy(self, number: int) -> dict[str, Any]:
        """Gone, unless the market was told to be stubborn."""
        with self.edit() as market:
            market["calls"].append(["destroy", {"id": number}])
            if market.get("stubborn"):
                raise RefusedError(f"not now, {KEY}")
            del market["instances"][str(number)]
            return {"success": True}

    def _boot(self, row: dict[str, Any]) -> None:
        row["actual_status"] = "running"
        home = self.machine(row["id"])
        subprocess.run(
            ["sh", "-c", row["onstart"]],
            env={"HOME": str(home), "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )


@contextmanager
def serve(market: Market) -> Iterator[str]:
    """The HTTP API of a market on loopback; its address."""
    handler = type("Handler", (_Handler,), {"market": market})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    market: Market

    def do_POST(self) -> None:
        self._answer(lambda body: {"offers": self.market.search(_plain_filters(body))})

    def do_GET(self) -> None:
        self._answer(lambda _: {"instances": self.market.show(), "next_token": None})

    def do_PUT(self) -> None:
        number = self._number()
        if "/asks/" in self.path:
            self._answer(lambda body: self.market.create(number, **body))
        elif "/bid_price/" in self.path:
            self._answer(lambda body: self.market.change_bid(number, body["price"]))
        else:
            self._answer(lambda _: self.market.stop(number))

    def do_DELETE(self) -> None:
        number = self._number()
        self._answer(lambda _: self.market.destroy(number))

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _number(self) -> int:
        return int(self.path.strip("/").split("/")[-1])

    def _answer(self, act: Callable[[dict[str, Any]], Any]) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        status = 200
        try:
            if self.headers.get("authorization") != f"Bearer {KEY}":
                raise RefusedError(f"not the key {KEY}")
            said = act(body)
        except RefusedError as error:
            status, said = 400, {"success": False, "msg": str(error)}
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _within(offer: dict[str, Any], filters: dict[str, dict[str, Any]]) -> bool:
    for name, wanted in filters.items():
        for operator, value in wanted.items():
            found = offer[name]
            if isinstance(found, str):
                fits = found == str(value).replace("_", " ")
            else:
                fits = {"eq": found == float(value), "gte": found >= float(value)}.get(
                    operator, found <= float(value)
                )
            if not fits:
                return False
    return True


def _plain_filters(body: dict[str, Any]) -> dict[str, Any]:
    known = ("gpu_name", "num_gpus", "disk_space", "dph_total")
    assert body["type"] == "bid"
    return {name: body[name] for name in known if name in body}


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def _as_client(market: Market, arguments: list[str]) -> Any:
    """What the client prints; None where it prints no JSON."""
    match arguments:
        case ["search", "offers", query, *_]:
            assert "--interruptible" in arguments
            names = {"=": "eq", ">=": "gte", "<=": "lte"}
            parts = [re.fullmatch(r"(\w+)(>=|<=|=)(.+)", one) for one in query.split()]
            return market.search({one[1]: {names[one[2]]: one[3]} for one in parts if one})
        case ["show", "instances", *_]:
            return market.show()
        case ["create", "instance", offer, *_]:
            return market.create(
                int(offer),
                price=float(_option(arguments, "--bid_price")),
                label=_option(arguments, "--label"),
                onstart=_option(arguments, "--onstart-cmd"),
                image=_option(arguments, "--image"),
                disk=float(_option(arguments, "--disk")),
            )
        case ["change", "bid", number, *_]:
            market.change_bid(int(number), float(_option(arguments, "--price")))
        case ["stop", "instance", number, *_]:
            market.stop(int(number))
        case ["destroy", "instance", number, *_]:
            assert "-y" in arguments
            market.destroy(int(number))
        case _:
            raise AssertionError(f"not known: {arguments}")
    return None


def _as_ssh(market: Market, arguments: list[str]) -> int:
    """The command in the machine's home, if the configuration leads to a machine that runs."""
    host, command = arguments[-2:]
    config = Path(_option(arguments, "-F")).read_text()
    found = re.search(rf"Host {re.escape(host)}\n\s+HostName 127.0.0.1\n\s+Port (\d+)", config)
    for number, row in market.instances.items():
        if found and row["ssh_port"] == int(found[1]) and row["actual_status"] == "running":
            home = market.machine(number)
            if (home / "deaf").exists():
                break
            return subprocess.run(
                ["sh", "-c", command], cwd=home, env=os.environ | {"HOME": str(home)}, check=False
            ).returncode
    sys.stderr.write("ssh: connect to host 127.0.0.1: Connection refused\n")
    return 255


def main() -> int:
    """Play a program."""
    market = Market(Path(os.environ["FAKE_VAST"]))
    program, *arguments = sys.argv[1:]
    if program == "ssh":
        return _as_ssh(market, arguments)
    try:
        said = _as_client(market, arguments)
    except RefusedError as error:
        # Like the client: an error, and exit code 0.
        sys.stderr.write(json.dumps({"error": True, "status_code": 400, "msg": str(error)}) + "\n")
        return 0
    sys.stdout.write(json.dumps(said) if said is not None else "done\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
