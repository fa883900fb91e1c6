"""Batches in a keyed order, and a place in it that counts what was consumed, not fetched."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from torch import Tensor

Batch = dict[str, Tensor]
Ids = Int64[np.ndarray, "_"]
# What makes two positions comparable; a saved one with another value of these is refused.
IDENTITY = ("seed", "num_items", "batch_size", "world_size", "drop_last")


@runtime_checkable
class Rows(Protocol):
    """What a loader fetches from: so many items, the same whoever asks and whenever."""

    def __len__(self) -> int: ...

    def fetch(self, ids: Ids, epoch: int) -> Batch:
        """The items of these numbers as one micro-batch."""
        ...


@dataclass
class Loader:
    """Windows of batches, one an optimizer step, in an order keyed by (seed, epoch).

    `batch_size` counts a step's items over all ranks; a rank gets every `world_size`-th of them and
    cuts its share into micro-batches. The last window of an epoch is short, or dropped with
    `drop_last`. Where a short one leaves a rank with fewer micro-batches than another, it gets the
    window's first item once more in each that it lacks: `fillers` says how many count nothing.

    `fetch(ids, epoch)` makes a micro-batch; what is random in it comes from `keyed_generator`. With
    `workers` it is called in that many threads, whole windows ahead, and returns the same.
    """

    num_items: int
    fetch: Callable[[Ids, int], Batch]
    _: KW_ONLY
    batch_size: int
    micro_batch_size: int
    seed: int
    drop_last: bool = False
    workers: int = 0
    rank: int = 0
    world_size: int = 1
    # The ids of the window that was just consumed, on this rank, and its empty micro-batches.
    last_ids: Ids = field(init=False)
    fillers: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.batch_size % self.world_size:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of world_size {self.world_size}"
            )
        if self._epoch_items == 0:
            raise ValueError(
                f"{self.num_items} items make no batch of {self.batch_size}; "
                "give more data or a smaller batch"
            )
        self.last_ids = np.empty(0, dtype=np.int64)
        self._place = _Place(epoch=0, consumed=0)
        self._orders: dict[int, Ids] = {}
        self._ahead: deque[_Pending] = deque()
        self._pool = ThreadPoolExecutor(self.workers) if self.workers else None

    @property
    def steps_per_epoch(self) -> int:
        """Windows in an epoch."""
        return -(-self._epoch_items // self.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch of the next window: how many have been consumed whole."""
        return self._place.epoch

    def window(self) -> list[Batch]:
        """The micro-batches of the next optimizer step; its ids count as consumed from here on."""
        pending = self._next()
        batches = pending.batches.result()
        if self._ahead:
            self._ahead.popleft()
        self.last_ids, self.fillers = pending.share.ids, pending.share.fillers
        self._place = self._after(pending.place)
        return batches

    def state_dict(self) -> dict[str, int | bool]:
        """The place in the data and what it is a place in, as plain JSON values."""
        return {
            "seed": self.seed,
            "num_items": self.num_items,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "drop_last": self.drop_last,
            "epoch": self._place.epoch,
            "consumed": self._place.consumed,
        }

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Go to a saved place; one in other data, or in another order, is an error."""
        mine = self.state_dict()
        if set(state) != set(mine):
            raise ValueError(f"the saved data position has {sorted(state)}, not {sorted(mine)}")
        for name in IDENTITY:
            if state[name] != mine[name]:
                raise ValueError(
                    f"the saved data position belongs to {name} {state[name]}, but this run has "
                    f"{mine[name]}; set it back, or start a new run"
                )
        place = _Place(epoch=int(state["epoch"]), consumed=int(state["consumed"]))
        if not 0 <= place.consumed < self._epoch_items or place.consumed % self.batch_size:
            raise ValueError(f"{place.consumed} consumed ids are no window's beginning")
        self._forget_ahead()
        self._place = place

    def close(self) -> None:
        """End the threads; what they fetched ahead is dropped."""
        self._forget_ahead()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _epoch_items(self) -> int:
        left_over = self.num_items % self.batch_size if self.drop_last else 0
        return self.num_items - left_over

    def _next(self) -> "_Pending":
        """The next window, fetched now or, with workers, already under way with those behind it."""
        if self._pool is None:
            return self._start(self._place)
        while len(self._ahead) <= self.workers:
            place = self._after(self._ahead[-1].place) if self._ahead else self._place
            self._ahead.append(self._start(place))
        return self._ahead[0]

    def _start(self, place: "_Place") -> "_Pending":
        share = self._share(place)
        if self._pool is not None:
            return _Pending(place, share, self._pool.submit(self._fetch_window, share, place.epoch))
        done: Future[list[Batch]] = Future()
        done.set_result(self._fetch_window(share, place.epoch))
        return _Pending(place, share, done)

    def _fetch_window(self, share: "_Share", epoch: int) -> list[Batch]:
        size, ids = self.micro_batch_size, share.ids
        cuts = [ids[at : at + size] for at in range(0, len(ids), size)]
        try:
            return [self.fetch(one, epoch) for one in [*cuts, *[share.first] * share.fillers]]
        except Exception as error:
            raise RuntimeError(f"epoch {epoch}, ids {ids.tolist()}: {error}") from error

    def _share(self, place: "_Place") -> "_Share":
        end = min(place.consumed + self.batch_size, self._epoch_items)
        window = self._order(place.epoch)[place.consumed : end]
        ids, largest = window[self.rank :: self.world_size], window[:: self.world_size]
        size = self.micro_batch_size
        return _Share(ids, window[:1], -(-len(largest) // size) - -(-len(ids) // size))

    def _order(self, epoch: int) -> Ids:
        if epoch not in self._orders:
            generator = keyed_generator(self.seed, purpose="order", epoch=epoch, item_id=0)
            kept = {old: order for old, order in self._orders.items() if old >= self.epoch}
            self._orders = {**kept, epoch: generator.permutation(self.num_items)}
        return self._orders[epoch]

    def _after(self, place: "_Place") -> "_Place":
        consumed = place.consumed + self.batch_size
        if consumed < self._epoch_items:
            return _Place(place.epoch, consumed)
        return _Place(place.epoch + 1, 0)

    def _forget_ahead(self) -> None:
        for pending in self._ahead:
            pending.batches.cancel()
        self._ahead.clear()


def keyed_generator(
    seed: int, *, purpose: str, epoch: int, item_id: int | str
) -> np.random.Generator:
    """The generator of one item's draws: the same in any process, worker and order of fetching."""
    key = json.dumps([seed, purpose, epoch, item_id]).encode()
    digest = hashlib.blake2b(key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


@dataclass(frozen=True)
class _Place:
    """Where a window begins: its epoch, and how many of the epoch's ids come before it."""

    epoch: int
    consumed: int


@dataclass(frozen=True)
class _Share:
    """A rank's ids of a window, the window's first one, and how often that fills a gap."""

    ids: Ids
    first: Ids
    fillers: int


@dataclass(frozen=True)
class _Pending:
    place: _Place
    share: _Share
    batches: Future[list[Batch]]
