"""The lexicon of the written world, as text: `world` and `telling` take it apart."""

WOMEN = """
Ada Agnes Alma Amity Anneke Anwen Asta Beatrix Bela Berta Birdie Blythe Bree Brisa Calla Carys
Celia Clara Cleo Coral Cora Dagny Dalia Delia Della Dinah Dora Edda Effie Elin Elka Elowen Elsbeth
Ember Enid Esme Etta Fay Fenna Flora Freya Gerda Gilda Greta Gwen Hanna Hattie Hedda Hester Hilda
Ida Ilse Imke Ines Inga Iris Isla Ivy Janna Jessa Joan Juna Kaia Karin Katya Kit Kirsten Lena
Lettie Liesel Linnea Lotta Lucia Lumi Mabel Maeve Maren Margit Marla Mattea Maud Merle Mina Mira
Molly Nan Nell Nessa Nora Oda Odette Olga Oona Orla Pearl Petra Philippa Polly Posy Prudence Ragna
Rhea Romy Rosalind Runa Ruth Sabine Saskia Selma Senna Sigrid Solveig Stella Sunniva Svea Sybil
Talia Tamsin Tess Thea Tilda Tova Una Ursula Vera Viola Wanda Wilma Winifred Yara Ylva Zelda
Zuzanna
"""

MEN = """
Abel Adrian Albin Alfie Anders Ansel Arlo Arne Asher Axel Barnaby Basil Bastian Benno Birk Bo
Boris Bram Caleb Casper Cedric Clement Colm Conrad Corin Cyril Dag Dirk Dougal Edgar Edmund Eero
Elias Emil Enzo Ephraim Erik Ernst Evan Fabian Felix Fergus Finn Floris Fritz Gareth Gideon Giles
Gregor Gustav Hal Hamish Hans Harald Hector Henrik Hugo Humphrey Idris Igor Ivo Jasper Jens
Joachim Jonas Joost Jory Josef Karel Kasimir Kees Klaus Knut Konrad Lars Laszlo Leif Lennart
Leopold Linus Lorenz Ludo Luka Magnus Malcolm Marek Matthias Mick Milo Moritz Ned Niels Nils Noah
Olaf Ole Orin Orson Oskar Osric Otto Owen Pavel Percy Piet Quentin Rafe Ralf Remy Rolf Rory Rufus
Rupert Sander Sandor Silas Simon Soren Stefan Sven Tavish Teo Theo Thijs Tobias Tom Torsten Ulrich
Umber Valentin Viktor Walter Wendel Wilf Willem Wim Xaver Yorick Yuri Zoltan
"""

VILLAGE_STARTS = """
Alder Ash Barrow Birch Black Bram Brook Cald Clear Clover Copper Crow Dun East Elder Fallow Fern
Fox Glen Gold Green Hazel Heather Heron High Honey Kings Lark Linden Low Maple Marsh Mill Moss
North Oak Otter Pebble Plover Quill Raven Red Reed Rose Rowan Rush Salt Sedge Silver Sorrel Stone
Sun Swan Thistle Thorn Wether West Whit Willow Winter Wren
"""

VILLAGE_ENDS = """
bank beck bridge bury by combe cote croft dale den field ford gate ham haven hill holm hurst ley
mere mouth port ridge side stead stow ton wick wold worth
"""

COLOURS = """
amber black blue bronze brown cream crimson dark-green golden green grey indigo ivory lilac orange
pale-blue pink plum purple red rust-red sand-coloured scarlet silver sky-blue straw-coloured
turquoise violet white yellow
"""

LOOKS = """
battered beautiful carved chipped clever curious dented elegant fine funny handsome heavy lovely
narrow neat odd old painted patched plain polished pretty round scratched shiny simple slender
small sturdy tiny well-made worn
"""

KEEPSAKES = """
accordion; almanac; atlas; basket; bell; blanket; bookmark; bonnet; bottle; bowl; box; bracelet;
brooch; brush; bucket; button; candlestick; cap; clock; comb; compass; cup; diary; drum; fan;
fiddle; flask; flute; globe; hammer; harp; hat; jug; kettle; key; kite; knapsack; ladle; lamp;
lantern; locket; magnet; map; mask; medal; mirror; mug; music-box; notebook; oar; paintbox;
parasol; penknife; pillow; pipe; pitcher; plate; pocket-watch; pot; puppet; purse; quilt; rattle;
ring; saddle; satchel; scarf; shawl; shovel; sled; spinning-top; spoon; spyglass; stool; sundial;
tambourine; teapot; thimble; tray; trumpet; umbrella; vase; violin; waistcoat; wallet;
weathervane; whistle; wreath
"""

# singular, plural, price of one in coins
GOODS = """
apple apples 1; bar of soap|bars of soap 2; basket of plums|baskets of plums 4; bunch of
carrots| bunches of carrots 2; bunch of tulips|bunches of tulips 3; bundle of kindling|bundles
of kindling 2; cabbage cabbages 2; candle candles 2; cheese cheeses 6; clay pot|clay pots 5;
cushion cushions 6; egg eggs 1; feather duster|feather dusters 3; fish fish 3; fishing
net|fishing nets 7; goose-quill pen| goose-quill pens 2; horseshoe horseshoes 4; jar of
honey|jars of honey 5; jar of jam|jars of jam 4; leek leeks 1; loaf loaves 3; melon melons 4;
onion onions 1; pair of socks|pairs of socks 4; pear pears 1; pie pies 4; potato potatoes 1;
pumpkin pumpkins 5; ribbon ribbons 2; rope ropes 4; sack of flour|sacks of flour 6; sausage
sausages 2; scarecrow scarecrows 7; straw hat|straw hats 5; turnip turnips 1; walnut cake|walnut
cakes 6; wax seal|wax seals 2; whisk whisks 3; wicker basket|wicker baskets 5; wooden
spoon|wooden spoons 2
"""

# dish, pieces it makes, ingredient (plural) that may run short
DISHES = """
almond biscuits: eggs; apple tarts: apples; barley rolls: cups of barley; berry muffins: eggs;
cheese scones: ounces of butter; cherry buns: cups of flour; cinnamon knots: cinnamon sticks;
corn cakes: cups of milk; currant slices: spoons of sugar; fig pastries: figs; ginger snaps:
spoons of ginger; herb dumplings: onions; honey cakes: spoons of honey; jam turnovers: cups of
sugar; leek pasties: leeks; lemon curls: lemons; meat pies: ounces of lard; mushroom parcels:
mushrooms; nut wafers: walnuts; oat bars: cups of oats; onion pancakes: eggs; pear fritters:
pears; plum dumplings: plums; poppy rolls: spoons of poppy seed; potato cakes: potatoes; pumpkin
squares: cups of cream; raisin whirls: cups of raisins; rhubarb puffs: stalks of rhubarb;
rosemary crackers: sprigs of rosemary; rye loaves: cups of rye
"""

TRADES = """
baker; basket weaver; beekeeper; blacksmith; boat builder; bookbinder; candle maker; carpenter;
carter; cheesemaker; clockmaker; cobbler; cooper; dairymaid|dairyman; doctor; dyer; farmer;
ferrywoman|ferryman; gardener; glassblower; goatherd; hatter; innkeeper; librarian; lighthouse
keeper; lock keeper; mapmaker; miller; milliner|mason; net mender; painter; potter; printer;
quilter|roofer; rope maker; saddler; schoolteacher; seamstress|tailor; shepherd; stonecutter;
tanner; thatcher; tinsmith; toymaker; weaver; wheelwright; woodcutter
"""

TRAITS = """
absent-minded; bashful; blunt; brave; bright; bustling; calm; careful; cautious; cheerful;
chatty; clever; curious; daring; diligent; dreamy; eager; earnest; easy-going; fair-minded;
fearless; forgetful; forgiving; frank; friendly; fussy; generous; gentle; good-humoured; grave;
hard-working; hasty; hopeful; impatient; inventive; kind; lively; loyal; mild; modest; nimble;
orderly; patient; polite; proud; quick; quiet; restless; sensible; sharp-eyed; shy; soft-spoken;
steady; stubborn; thoughtful; thrifty; tidy; tireless; trusting; warm-hearted; watchful; witty
"""

LIKES = """
baking bread; beating the drum; bird songs; building dams; buttered toast; catching tadpoles;
cherry pie; climbing trees; cloud watching; cold milk; collecting feathers; collecting smooth
stones; counting stars; dancing jigs; dark chocolate; digging for clams; drawing ships;
embroidery; feeding ducks; fishing at dawn; flying kites; folding paper; fresh figs; frying
pancakes; ghost tales; growing beans; hot cider; humming old tunes; keeping crickets; knitting;
lavender tea; learning new words; liquorice; long walks; making lists; marching songs; mending
nets; mint tea; moonlit nights; mushroom soup; old maps; painting doors; peppermint drops;
picking berries; playing chess; playing the fiddle; polishing brass; pressing flowers; puzzles;
raspberry jam; reading aloud; riddles; roasted chestnuts; sailing toy boats; salted butter;
singing rounds; skating; skipping rope; sledging; snowy mornings; spinning tops; strong coffee;
sweet pears; swimming; telling jokes; the smell of cut hay; the smell of rain; thunderstorms;
train whistles; trading stamps; whittling; wild garlic; winter fires; writing letters
"""

# word, sex, age less the hero's (lowest, highest), the hero's own age (lowest, highest)
KIN = """
aunt f 18 34 8 40; brother m -7 8 8 70; cousin f -6 6 8 70; cousin m -6 6 8 70; daughter f -36
-23 33 72; father m 23 38 8 44; friend f -4 4 8 75; friend m -4 4 8 75; grandfather m 46 60 8
28; grandmother f 45 60 8 28; grandson m -60 -46 56 75; granddaughter f -60 -46 56 75; mother f
22 37 8 44; nephew m -32 -15 24 75; niece f -32 -15 24 75; sister f -7 8 8 70; son m -36 -23 33
72; uncle m 18 34 8 40; neighbour f -9 9 20 75; neighbour m -9 9 20 75
"""

WEATHERS = {
    "spring": ("showers", "wind", "sun", "mist", "clouds"),
    "summer": ("sun", "heat", "thunder", "wind", "clouds"),
    "autumn": ("rain", "mist", "wind", "clouds", "sun"),
    "winter": ("snow", "frost", "clouds", "wind", "sleet"),
}

MONTHS = {
    "spring": ("March", "April", "May"),
    "summer": ("June", "July", "August"),
    "autumn": ("September", "October", "November"),
    "winter": ("December", "January", "February"),
}

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

PAST = {
    "has": "had",
    "have": "had",
    "is": "was",
    "are": "were",
    "will": "would",
    "plays": "played",
    "points": "pointed",
    "wheezes": "wheezed",
    "looks": "looked",
}

ONES = """
no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
"""

TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety"

ORDINALS = """
zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth
"""

ODDMENTS = """
a bent nail; a blue feather; a broken plate; a bus ticket; a coil of wire; a cork; a dead leaf;
a fish hook; a horseshoe; a lost mitten; a marble; a playing card; a rusty hinge; a single shoe;
a sleeping hedgehog; a snail shell; a spider; a toy soldier; a very old sandwich; a walnut; an
apple core; an empty tin; an odd sock; half a candle; half a comb; a pair of spectacles; a bone
button; a dry bean; a stub of pencil; a yard of string
"""

MERITS = """
being brave at the dentist's; bringing in the harvest; carrying the water all winter; catching
the runaway pony; finishing school; finding the lost sheep; keeping a secret; learning to read;
looking after the geese; mending the roof; minding the baby; never giving up; nursing a sick
lamb; painting the fence; playing at the fair; reading to the old folk; rescuing a kitten;
singing in the choir; telling the truth; walking all the way alone; winning a bet; winning at
chess
"""

# verb phrase, unit of success, advice
SKILLS = """
skip stones|skips|Hold the stone flat; juggle|catches|Look up, not at your hands; walk on
stilts|steps|Keep your knees soft; whistle a tune|notes in a row|Wet your lips; ride the tall
bicycle|turns of the wheel| Look where you want to go; swim|strokes|Stretch your arms; play the
flute|clean notes|Blow across, not in; knit|even rows|Loosen the wool; milk the goat|cups of
milk|Sing to her; throw a pot|good bowls|Wet your hands; row a boat|straight strokes|Pull with
your back; skip rope|jumps|Listen to the rope; read the old script|lines|Go letter by letter;
tie sailor's knots|knots|Let the rope lie easy; shoot with a bow|hits|Breathe out first; spin
yarn|arm's lengths of yarn|Let the wheel do the work; balance on the beam|steps|Fix your eyes on
the end; carve spoons|fine spoons|Follow the grain; dance the reel|turns|Count under your
breath; fly a kite|loops|Give it string
"""

LOADS = """
logs; sacks of grain; bales of hay; bricks; roof tiles; barrels; crates of apples; baskets of
turnips; stones; planks; buckets of coal; chairs; books; milk cans; boxes of nails; flagstones;
wool sacks; hurdles; fence posts; slates
"""

FAULTS = """
bell|the clapper has come off|a new hook; clock|the hands have stopped|a small spring;
kettle|the handle is loose|two rivets; lantern|the glass is cracked|a pane of glass; fiddle|a
string has snapped|a new string; stool|one leg is split|an oak peg; umbrella|three ribs are
bent|a coil of wire; music-box|it plays only half its tune|a tiny gear; drum|the skin is torn|a
piece of calfskin; satchel|the strap is broken|a brass buckle; weathervane|it points only
north|a drop of oil; sled|a runner is bent|a strip of iron; accordion|it wheezes on every note|a
patch of leather; mirror|the frame has come apart|four screws; saddle|the girth is worn
through|a length of webbing; kite|the cross is broken|a willow stick; teapot|the spout is
chipped|a pinch of clay; penknife|the blade will not open|a steel pin; puppet|its strings are
tangled|a spool of thread; spyglass|everything looks foggy|a clean lens
"""

PROMISES = """
feed the hens; water the seedlings; close the hen house; lock the gate; light the lamp; bring in
the washing; wind the clock; stir the jam; take back the books; milk the goat; post the letter;
turn the cheeses; ring the bell; let out the dog; sweep the hall; fetch the medicine; put out
the ashes; cover the well; groom the pony; carry in the wood
"""

PASTIMES = """
a ball game; a puppet show; a singing match; a game of chess; a treasure hunt; a band practice;
a tug of war; a story hour; a checkers match; a marbles game; a magic show; a pancake toss; a
dance; a riddle contest; a sack race; a poetry reading; a game of hide-and-seek; a play; a
fiddle concert; a quiz
"""

OUTINGS = """
a picnic; a kite day; a painting lesson; a garden feast; a family photograph; a boat race; a
school treat; a birthday tea; a brass concert; an egg hunt; a bicycle ride; a pony show; a long
walk; a ball game; a flower market; a campfire
"""
