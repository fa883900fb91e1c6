"""The places of the written world: how one stands there, what hides and what is seen there."""

INDOORS = frozenset(
    {
        "bakery",
        "barn",
        "bell tower",
        "boathouse",
        "forge",
        "greenhouse",
        "inn",
        "library",
        "lighthouse",
        "mill",
        "post office",
        "schoolhouse",
        "stables",
        "theatre",
        "toy shop",
        "workshop",
    }
)

# name | how one stands there | hidden spots | sights; places are parted by an empty line
PLACES = """
bakery|in|behind the flour bin; under the bread rack; beside the oven; on the cooling shelf| warm
loaves steamed on the racks; the oven door glowed; the whole room smelled of crust and butter;
flour dust drifted through the light; a cat slept on the empty sacks

barn|in|under the hayloft ladder; behind a milk churn; in the feed trough; among the straw bales|
sparrows hopped along the beams; two calves pushed at the gate; dust hung in the slanting light;
the old mare stamped and snorted; it smelled of hay and leather

bell tower|in|on the third stair; behind the bell rope; under a loose board; on the window ledge|
the ropes swayed a little; pigeons shuffled overhead; a hundred worn steps wound upward; the great
bell hummed softly; the whole valley lay spread out below

boathouse|in|under an upturned boat; among the oars; inside a coil of rope; behind the paint tins|
water slapped against the boards; three boats lay upside down; the air smelled of tar; fishing
nets hung from the rafters; light from the water danced on the ceiling

bridge|on|between two stones of the wall; under the first arch; beside the mile post; below the
railing| the river slid by below; two boys were dropping sticks into the water; a heron stood in
the shallows; moss grew thick on the wall; a cart rumbled across

churchyard|in|beneath the yew; beside the gate post; on the mossy wall; behind the water butt|
crows argued in the yew; the gate creaked; ivy climbed over the oldest stones; someone had left a
wreath; a robin hopped along the path

ferry landing|at|under the waiting bench; beside the mooring post; among the crates; behind the
ticket hut| the ferry nudged the posts; ropes creaked; gulls walked up and down like inspectors; a
row of barrels waited; the water was brown and quick

forge|in|under the anvil; behind the coal heap; beside the bellows; on the tool bench| sparks flew
from the anvil; the bellows wheezed; horseshoes hung in neat rows; the fire glowed orange; every
hammer had its own hook

garden|in|under the currant bushes; beside the beehives; behind the tool shed; among the cabbages|
bean poles leaned in a bundle; the path had been swept; the hives stood in a quiet row; an old
scarecrow leaned to one side; the rake lay where it had fallen

greenhouse|in|under a seed tray; behind the lemon tree; among the flower pots; beside the stove|
the panes were misted over; the air was warm and green; tiny shoots stood in rows; a tap dripped
into a can; the lemon tree was heavy with fruit

harbour|at|among the lobster pots; behind the fish crates; on the sea wall; under a folded sail|
masts clinked in the breeze; gulls screamed over the fish crates; a boat was being unloaded; the
tide was creeping in; an old sailor was splicing rope

hill|on|under the lone pine; beside the cairn; in a rabbit hole; among the heather| sheep grazed
on the slope; a hawk hung overhead; the path was steep and stony; one could see as far as the sea;
the wind never quite stopped there

inn|at|under the corner table; behind the bar; on the mantelpiece; beside the coat stand| somebody
was tuning a guitar; the fire crackled; plates clattered in the kitchen; a dog lay across the
doorway; two travellers argued about a map

lake|by|in the reeds; under the jetty; beside a flat rock; inside a rowing boat| small waves
licked the stones; a fish jumped; reeds whispered along the shore; ducks paddled in a line; the
jetty creaked

library|in|between two dictionaries; on the highest shelf; under the reading lamp; behind the
globe| pages rustled; the clock ticked loudly; a ladder leaned against the tallest shelf; somebody
sneezed behind the atlases; rows of old spines gleamed

lighthouse|at|on the spiral stair; beneath the great lamp; beside the oil cans; behind the log
book| waves boomed against the rocks; the lamp was being cleaned; the stair wound up and up; spray
ran down the windows; the log book lay open

market square|in|under a fruit stall; beside the fountain; behind the flower cart; on the town
hall steps| stallholders called out their prices; the fountain splashed; a juggler had drawn a
crowd; crates were stacked as high as the windows; a donkey was eating somebody's hat

meadow|in|in the long grass; beside the stile; under the hawthorn; near the molehills| a hare sat
up and stared; two goats watched from the fence; a crow called from a fence post; the stream made
its small noise; the stile wobbled

mill|at|behind the flour sacks; under the millstone; beside the hopper; on the loading platform|
the great wheel turned slowly; everything wore a coat of flour; the floor trembled underfoot; the
water roared in the race; sacks were piled to the rafters

orchard|in|at the foot of a ladder; in a hollow trunk; under the oldest tree; beside the cider
press| ladders leaned in the branches; the grass between the trunks was long; blackbirds scolded;
baskets stood between the rows; the oldest tree had a prop under its arm

post office|in|under the counter; behind the scales; among the parcels; on the stamp drawer|
letters lay in a hundred little boxes; the stamp came down with a thump; a queue had formed; the
bell over the door tinkled; parcels were heaped on the counter

quarry|at|under a ledge; behind the tool hut; beside the crane; on a block of granite| chisels
rang from wall to wall; a pool lay at the bottom, as green as glass; stone dust covered
everything; the crane groaned; an echo answered every word

railway station|at|under the platform bench; beside the luggage trolley; behind the timetable; on
the weighing scale| the signal dropped with a clank; a goods train stood in the siding; a porter
was whistling; the station clock ran two minutes fast; trunks stood in a row

schoolhouse|in|inside a desk; behind the blackboard; under the piano; on the coat pegs| chalk dust
hung in the air; a map covered one wall; the stove ticked as it warmed; forty coats hung on forty
pegs; somebody had drawn a whale on the board

stables|in|in the manger; behind the saddle rack; under the mounting block; among the clean straw|
a grey horse put its head over the door; harness gleamed on the wall; hooves shifted on the
cobbles; buckets stood ready; the straw was fresh

theatre|in|behind the curtain; under the front row; in the prop box; beside the trapdoor| the
stage smelled of paint; rows of red seats waited; a painted forest leaned against the wall; the
curtain breathed in and out; someone was practising a song

toy shop|in|behind the rocking horse; on the puppet shelf; inside a doll's house; under the
counter| tops and trains filled the window; a clockwork bear beat its drum; puppets dangled from
the ceiling; the rocking horse stared ahead; wood shavings curled on the floor

watermeadow|in|beside the sluice; under the plank; in the rushes; near the willow stump| the
willows leaned together; water glinted between the tussocks; a moorhen hurried across; the ground
was soft underfoot; a thin bird was stalking along the ditch

well house|at|beside the bucket; behind the winding handle; on the stone rim; under the eaves| the
chain rattled; water dripped far below; ferns grew between the stones; the bucket hung quite
still; a cool breath came up from the dark

wood|in|under the fallen oak; in a heap of leaves; beside the woodpile; among the roots of a
beech| a woodpecker knocked; the light came down in pieces; twigs snapped underfoot; the path
forked twice; a squirrel scolded from above

workshop|in|under the vice; among the wood shavings; behind the glue pot; on the highest hook| the
saw sang; a half-made chair waited on the bench; curls of wood lay everywhere; tools hung in order
of size; the glue pot bubbled
""".strip().split("\n\n")

RIDDLES = {
    "bakery": (
        "Go where the day begins before the sun.",
        "My heart is hot and my wares are round.",
    ),
    "barn": ("I keep the summer for the winter.", "Find the house where hay sleeps."),
    "bell tower": (
        "I have one tongue and the whole village hears it.",
        "Climb until you meet bronze.",
    ),
    "boathouse": ("Here ships sleep on their backs.", "A roof for those that float."),
    "bridge": ("I lie across a bed but never sleep.", "Both banks hold my hands."),
    "churchyard": ("Walk softly among the names.", "Old names, green grass, one yew."),
    "ferry landing": ("Wait here to walk on water.", "The road stops and a rope goes on."),
    "forge": ("Iron weeps sparks here.", "My song is hammer, hammer, hammer."),
    "garden": ("Peas climb here and nobody tells them to.", "A straw man guards me badly."),
    "greenhouse": ("A house of windows where it never snows.", "Lemons live here in the north."),
    "harbour": ("I hold many ships and own none.", "Follow the gulls to their breakfast."),
    "hill": ("I never move and yet I rise.", "Stand where you see the most."),
    "inn": ("A stranger may buy a bed here.", "A hundred suppers and no family."),
    "lake": ("I show you your face and the sky.", "A mirror with fish behind it."),
    "library": ("A thousand voices and not a sound.", "Leaves grow here on shelves."),
    "lighthouse": ("I blink all night and sleep by day.", "One eye, and ships love it."),
    "market square": ("Many come here to part with coins.", "Where prices are sung."),
    "meadow": ("A carpet that goats may eat.", "Green in the middle and hares at the edge."),
    "mill": ("I eat grain and never grow fat.", "Water works here for its bread."),
    "orchard": ("Soldiers in rows, with cider in their arms.", "Ladders grow among the trees."),
    "post office": ("Words wait here for their owners.", "Lick, stamp, and wish it well."),
    "quarry": ("The more they take, the bigger I am.", "A hole that built the church."),
    "railway station": (
        "Everyone here is on the way elsewhere.",
        "Two iron lines never meet here.",
    ),
    "schoolhouse": ("White words on a black wall.", "Forty heads and one bell."),
    "stables": ("Shoes here are nailed on.", "Tall friends sleep standing up."),
    "theatre": ("Forests are made of paint here.", "Kings here wear paper crowns."),
    "toy shop": ("Small drums, small bears, no bedtime.", "Look where horses rock."),
    "watermeadow": ("Neither river nor field am I.", "Bring boots where willows meet."),
    "well house": ("I go down so that you may drink.", "A bucket is my only guest."),
    "wood": ("I have bark but never bite.", "A thousand pillars and no roof."),
    "workshop": ("Chairs are born here.", "Curls fall here, but nobody cuts hair."),
}
