"""Prose that every story shares: beginnings, weather, places, small habits, links and manners."""

TEXT = """
# time
at {clock}
at {clock}
at about {clock}
around {clock}
later in the {part}
before the {part} was [over|out]
as the {part} [went on|wore on]

# soon
before long
a little later
not long [after|afterwards]
after a [while|bit|moment]
presently
a [few|couple of] [minutes|moments] later
in no time
[by and by|in due course|in the end]
[just|right] then
[at that|at that very] moment
with that
next
<time>
*when the clocks had moved on a little

# mannerly
quietly
[very|rather|so] [softly|gently|kindly|firmly|slowly|calmly]
with a [nod|sigh|shrug|grin|laugh|wink|frown]
at once
at last
in a [low|clear|small|bright|steady|hoarse] voice
after a [pause|moment|while]

# said
[said|replied|answered|called|cried|remarked|declared|murmured][| <mannerly>]

# joyful
[glad|happy|merry|cheerful|delighted|overjoyed]
[very|quite|most] [pleased|proud|content|thankful]
[light of heart|warm inside|full of joy]
[relieved|at peace|in high spirits]

# sorrowful
[sad|gloomy|miserable|unhappy|downcast]
[worried|anxious|uneasy|troubled]
[ashamed|sorry|crestfallen]
[very|rather|quite] [upset|cross|low|dismayed|disappointed]

# smiled
smiled
[laughed|chuckled|grinned|beamed|nodded]
[clapped {his} hands|threw up {his} hands|shook {his} head]
[blushed|winked|sighed|hummed]
[rubbed|scratched|tilted] {his} [chin|nose|head]
[hopped|danced] from one foot to the other
*did a small and private dance

# walked
[walked|hurried|strolled|marched|wandered|trudged|ran|went|set off|strode|trotted]

# good
[good|fine|splendid|lovely|pleasant|happy|wonderful|perfect|grand]

# sky_showers
[light|short|quick] showers [came and went|blew|swept] [over the roofs|across the fields|all day]
[raindrops|bright drops] hung [from|on] every [twig|gate|fence] [between|after] the showers
the sky could not [decide|settle] between [rain and shine|showers and sun]

# sky_wind
a [brisk|strong|gusty|restless|bold] wind [tugged at|rattled|shook] the
 [shutters|gates|washing|signs]
the wind [sang|whistled|hummed|blustered] [in the chimneys|round the corners|over the rooftops]
[leaves|hats|scraps of paper|clouds] [flew|raced|tumbled] [along|by] before the wind

# sky_sun
the sun [shone|blazed|smiled] [on|over] [the rooftops|every window|the fields and lanes]
[not a cloud|hardly a cloud] was [to be seen|in sight|in the sky]
sunlight [lay|spilled|poured] across the [yards|lanes|steps|walls]

# sky_mist
a [thin|white|soft|cool] mist [lay|hung|drifted] [over the fields|in the lanes|along the river]
mist [hid|wrapped|blurred] the [far hills|treetops|chimneys|church spire]
the [hedges|houses|trees] [floated|stood] like [ships|ghosts|islands] in the mist

# sky_clouds
[grey|heavy|low|woolly] clouds [covered|filled|crowded] the [whole|wide] sky
clouds [drifted|sailed|crept] [slowly|lazily] over the [hills|village|fields]
the [light|day] was [soft|grey|pale] [beneath|under] a [lid|blanket|roof] of cloud

# sky_heat
the [air|road|path] [shimmered|trembled] [in|with] the heat
it was so hot that [even the dogs|the hens|the cats] [lay|stayed|dozed] in the shade
heat [lay|pressed|settled] [on|upon] the [roofs|stones|fields] like a [lid|hand|blanket]

# sky_thunder
thunder [grumbled|muttered|rolled] [behind|beyond|over] the [hills|woods|far fields]
the air was [thick|heavy|close], and [clouds|dark clouds] [piled up|gathered] in the [west|south]
a storm was [brewing|coming|on its way], and the [swallows|birds] flew low

# sky_rain
rain [fell|pattered|drummed|dripped] [on the roofs|on the cobbles|from every gutter]
[puddles|pools] [shone|spread|shivered] in [every lane|the yards|the ruts of the road]
it rained [steadily|softly|without a pause|in long grey lines]

# sky_snow
snow [lay|sparkled|was piled] [on the roofs|on every fence|along the walls]
[big|small|slow|soft] flakes [drifted|spun|floated|sank] [down|past the windows|between the houses]
the snow [creaked|crunched|squeaked] [underfoot|under every boot|beneath the wheels]

# sky_frost
frost [glittered|sparkled|shone] on [every twig|the window panes|the fences]
the [puddles|pond|gutters] had [frozen|turned to ice|a skin of ice]
every breath [made|became] a [small|little|white] cloud in the [sharp|icy|frosty] air

# sky_sleet
sleet [stung|slapped|spattered] the [windows|faces of passers-by|doors]
a [cold|raw|mean] sleet [blew|drove|slanted] [down the lanes|across the square|over the roofs]
the [roads|paths|lanes] were [slushy|slippery|grey with slush]

# setting
[In|Up in|Over in] [the village of |]{village}, {month} had [come|begun|arrived], and {sky}
It was a {weekday} in {month}, and [in {village}|over {village}] {sky}
{sky} that {weekday} in {village}[, as so often in {month}|, for it was {month}|]
[Nobody|No one] in {village} would [forget|soon forget] that {weekday} in {month}[, when|:] {sky}
[Once|One {season}], on a {weekday} in {month}, {sky}, and {village} was [waking up|quiet|busy]
{village} is a [small|tiny|sleepy|friendly|crooked|cosy] place. That {weekday} in {month}, {sky}
[This|What follows] happened in {village} on a {weekday} in {month}: {sky}
*If you had [passed through|visited] {village} in {month} that year, you would have [seen|learnt]
 that {sky}

# hero_child
{Who}, [who was {age}|aged {age}|{age} years old] and [known to be|always|rather|quite] {trait},
 [liked nothing better than|was fond of|never tired of] {likes}
a {trait} {girl} [called|named|by the name of] {Who} lived [there|close by|near {place}]; {he} was
 {age} and [loved|adored] {likes}
there lived a {girl} of {age} called {Who}, [as {trait} as could be|the most {trait} of them
 all|{trait} by nature], who [loved|enjoyed|cared for] {likes} [above all|most of all|more than
 anything]
{Who} was {age}, and everyone [knew|said|agreed] that {he} was {trait}; nothing [was|lay]
 [nearer|closer|dearer] to {his} heart than {likes}
at {age}, {Who} had two [great loves|passions]: {likes} and [staying up late|asking questions|being
 outdoors|making plans]
*of all the {girl}s of {age} in those parts, none was so {trait} as {Who}, and none so [fond of|mad
 about] {likes}

# hero_grown
{Who} the {trade}, [who was {age}|aged {age}], was [known to be|said to be|called] as {trait} a
 {man} as any [in the village|for miles around]
{Who}, a {trait} {trade} of {age}, [liked|loved|was fond of] {likes} [above all|better than
 anything|almost as much as {his} work]
the {trade} there was [called|named] {Who}, a {trait} {man} of {age} [with a love of|with a weakness
 for|who cared for] {likes}
at {age}, {Who} was [still|already|by then] the [best|only|busiest] {trade} [in the village|around],
 {trait} [by nature|as ever|and proud of it], and [fond of|mad about|devoted to] {likes}
a {trait} {trade} [called|named|by the name of] {Who} lived [beside|behind|close to] {place}; {he}
 was {age} and [dreamed of|loved|lived for] {likes}
*there was no {trade} like {Who}, people said, so {trait} at {age} and so [given to|taken with]
 {likes}

# friend
{his} {wkin} {Whom} was {wage}, [{older}|and {older}], and [cared|lived] [only|most of all|chiefly]
 for {wlikes}
{whom}, who was {older}, was as {wtrait} as {he} was {trait}
{he} [shared|spent] [most days|many an hour|all {his} free time] with {his} {wkin} {Whom}, a
 {wtrait} {wman} of {wage} who [loved|adored] {wlikes}
[nobody|no one] [knew {him} better|was dearer to {him}] than {his} {wkin} {Whom}, {older}, and very
 {wtrait}
{his} {wkin}, {Whom}, was [the {wtrait} one|{wtrait} to the bone]: at {wage}, {whe} [thought of
 little but|talked mainly of|would give anything for] {wlikes}
*in all things {he} [trusted|leaned on] {his} {wkin} {Whom}, {wage} years old, {wtrait} and wise

# scene
[|<soon>, ]{who} looked [about|round|around]: {scene}
{scene}, and [for a moment|for a while|just then] {who} [stood still|listened|forgot the time|only
 looked]
{at} {scene}
[as always|as usual], {scene} {at}
{scene}[. It|, which] was so like {place} that {who} [smiled|had to smile|sighed]
"[Listen|Look|Well, well]," {Who} [said|murmured|thought], for {scene}
{scene}; {who} [breathed in deeply|took it all in|noticed it and went on]
*nothing escaped {Who}, not even that {scene}

# sky_now
{sky}[, but {who} [hardly noticed|did not mind|paid no heed]|]
[meanwhile|all the while|all around], {sky}
{who} [turned up {his} collar|looked up|glanced at the sky]; {sky}
{sky}, and {who} [thought of|longed for|remembered] [hot soup|the fireside|{his} warm bed|last
 year|a song from long ago]
*the day had a will of its own: {sky}

# pause
[|<soon>, ]{who} [stopped|paused|sat down] to [eat|munch|nibble] [an apple|a crust of bread|a
 biscuit|a slice of cake|a boiled egg] and [thought about|dreamed of] {likes}
for [some minutes|a while|the next half mile] {who} [could think only of|told {self} stories
 about|hummed a song about] {likes}
[being|since {he} was] {trait}, {who} [took a deep breath|counted to ten|whistled a tune|kept {his}
 eyes open] [and went on|before going on|as {he} went]
a [dog|cat|goose|hen|goat|pony] [followed|watched|greeted] {Who} [for a while|as far as the
 corner|from a doorstep], [hoping for a crumb|full of suspicion|as if they were old friends]
[|<soon>, ]{who} [met|passed|nodded to] [an old man with a barrow|two women with a pram|a boy
 rolling a hoop|the postman|a girl leading a calf|a pedlar with a pack] [on the way|at the corner|by
 the pump]
[|<soon>, ]{who} [stubbed {his} toe|nearly slipped|got a pebble in {his} shoe|lost {his} cap to the
 wind for a moment] [and laughed at {self}|but did not complain|and muttered a word or two]
*there is a kind of silence that {who} liked, and this was [it|one]

# walk
<time>, {who} <walked> to {place}, where {scene}
[|<soon>, ]{who} <walked> [down the lane|past the pump|over the stile|along the wall|up the street]
 to {place}[, and <time> {he} was there|; {scene}|]
it was a [short|fair|long|brisk] walk to {place}, and {who} [got|came|arrived] there <time>
[soon|before long], {who} was {at}; {scene}
[|<soon>, ]{who} [made {his} way|turned {his} steps|went] to {place} [in good spirits|humming to
 {self}|deep in thought|by the shortest path|by the back gardens]
*{his} feet knew the way to {place} by heart, and <time> they had [brought|carried] {who} there

# greet
{at} {he} [found|met|came upon] {whom}, who [was|seemed] [busy|hard at work|in good spirits|half
 asleep|glad of company]
"[Good {part}|Hello|Welcome|Well met], {Who}!" [called|cried|said] {whom} {at}
{whom} was there [already|too|before {him}], and the two [shook hands|nodded to each other|exchanged
 the news|talked about the weather]
{whom} [looked up|waved|put down {whis} work|came out to meet {him}] [as soon as|when] {he}
 [arrived|came near|appeared]
*who should be standing {at} but {whom}

# night
<time>, {who} [was home again|sat by the window at last|lay in bed|hung up {his} coat|lit the
 lamp|took off {his} boots], [tired but|weary and|and {he} was] <joyful>
[that night|when the stars came out|at bedtime], {who} [wrote it all down|told it all again|thought
 it all over|dreamed of it], from [first to last|beginning to end]
[the lamps were lit|smoke rose from the chimneys|the first owl called] when {who} [got home|came to
 {his} own door|pulled off {his} boots], <joyful>
so [ended|passed] that {weekday} in {month}, and {who} [slept|went to bed|fell asleep] <joyful>
it had been a [long|busy|strange|remarkable] {weekday}, and {village} [lay still|was quiet|went to
 sleep] under the [dark|evening|wide] sky
*in {village} they still [speak|tell] of that {weekday}, and {Who} [only smiles|lets them]

# wisdom
"[It takes all sorts|One never knows|That is how it goes|Slow and steady|All's well]," {who}
 [thought|told {self}|said to the cat], and [put out the light|closed the shutters|laughed]
{who} had [learnt|understood] [something|one thing] that day: that [people are kinder than they
 look|haste makes waste|asking costs nothing|a friend is worth more than gold|a little patience goes
 far|no day is quite like the next]
[from that day on|ever after|afterwards], {who} [was a little wiser|thought of it often|kept that
 {season} in {his} heart|liked {likes} even more]
and if {who} [ever|still] [thinks|dreams] of that {season}, it is with [a smile|a warm heart|some
 pride|wonder]
*what {who} made of it all, {he} kept to {self}

# smiled_w
[smiled|laughed|beamed|nodded]
[had to smile|could not help smiling]

# said_w
[said|added|answered|remarked|declared|murmured][| <mannerly>]
"""
