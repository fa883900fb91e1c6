"""All plots: each is a generator of true events, drawn from a world, in order of time."""

from collections.abc import Callable, Iterator

from lmlab.data.stories.plots.course import Course
from lmlab.data.stories.plots.faring import birthday_visit, promise, race, spoiled_outing
from lmlab.data.stories.plots.making import baking, heavy_task, learning, mending
from lmlab.data.stories.plots.seeking import lost_and_found, misunderstanding, treasure_hunt
from lmlab.data.stories.plots.trading import chain_of_swaps, market_day, parcels
from lmlab.data.stories.world import Event

PLOTS: dict[str, Callable[[Course], Iterator[Event]]] = {
    "baking": baking,
    "birthday_visit": birthday_visit,
    "chain_of_swaps": chain_of_swaps,
    "heavy_task": heavy_task,
    "learning": learning,
    "lost_and_found": lost_and_found,
    "market_day": market_day,
    "mending": mending,
    "misunderstanding": misunderstanding,
    "parcels": parcels,
    "promise": promise,
    "race": race,
    "spoiled_outing": spoiled_outing,
    "treasure_hunt": treasure_hunt,
}
