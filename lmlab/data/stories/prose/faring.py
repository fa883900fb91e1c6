"""Prose for visits, races, promises, and plans that the weather spoils."""

TEXT = """
# invited
a letter had come from {whom} in {elsewhere}: "[Come on {weekday}|Do come]. I shall be {n} [years
 old|that day]." {Who} [packed|wrapped] a {thing}
{whom} in {elsewhere} was [turning|going to be] {n}[ that {weekday}|], and {who} had
 [bought|made|found] a {thing} for {whim}
on {weekday} {whom} would be {n}. {who_cap} [put|tied] a {thing} [in|into] {his} bag and [looked
 up|set out on] the road to {elsewhere}
it was {weekday}, the [birthday|{nth} birthday] of {whom}, who lived in {elsewhere}; for {whim}
 {who} had a {thing}
*{n_cap} candles were to be lit in {elsewhere} that {weekday}, for {whom}, and {who} was bringing a
 {thing}

# travel
<time>, {who} [took|caught] the [mail coach|slow train|ferry|carrier's cart] and [looked out|sat by
 the window|dozed] [for {minutes} minutes|most of the way]
the [road|way|path] to {elsewhere} took {minutes} minutes [on foot|by cart|by boat]. {who_cap}
 passed {place}, where {scene}
{who} [set out from|left] {village} <time>, [passed|went by] {place}, and [counted milestones|sang
 all the way|counted the bridges|met nobody]
[halfway|on the way], by {place}, {who} [shared {his} bread with|talked to|was overtaken by] a
 [pedlar|tinker|family of six|soldier on leave]
*between {village} and {elsewhere} lie {minutes} minutes of road, and {who} spent them thinking of
 {likes}

# arrive
at {clock} {he} knocked. "[You've come|There you are]!" [cried|said] {whom}, and [pulled|hugged]
 {him} [inside|close]
{whom} was [standing at the gate|leaning out of the window|sweeping the step] when {who}
 [came|arrived] at {clock}
{elsewhere} [smelled of smoke|was full of bells|lay quiet], and at {clock} {who} [found|stood
 before] {whom}, {wtrait} as ever
at {clock} {who} [turned in|stopped] at a [blue|green|low|crooked] door in {elsewhere}, and {whom}
 [flung it open|was there]

# birthday_gift
"{n_cap} [today|years]!" said {Who}, and [gave|handed] {whim} the {thing}. {whom} [was
 speechless|kissed {him}|laughed like a child]
[|<soon>, ]{who} [brought out|unpacked] the {thing}. "[For your|Happy] {nth} birthday," {he} said,
 and {whom} [wiped {whis} eyes|<smiled_w>]
[|<soon>, ]{whom} [set|put] the {thing} [in the middle of the table|where everyone could see it].
 "At {n} [you hardly get|I did not expect] such [presents|lovely things]!"

# age_talk
"[When|The year] I was {m}," {whom} [said|told {him}] over [cake|supper|tea], "[that is|which was]
 {total_n} years ago, I [ran away to sea|won a goat|got lost in the snow|met a king|built a raft]."
they [ate|talked] [and|until] {whom} [remembered|spoke of] being {m}, {total_n} years [before|ago],
 when {whe} had [fallen in the river|won a pie contest|sung before the mayor|kept a fox]
"{n_cap} take away {total_n} is {m}," {whom} said. "[That's how old I was|That was my age] when I
 [learnt to swim|broke my arm|first saw {elsewhere}|planted that tree]."
*{total_n} years earlier, at {m}, {whom} had danced all night, and {whe} told it as if it were
 yesterday

# gift_back
when {he} left, {whom} gave {him} {ngoods} for the [road|journey|way home]
"[Take|Don't go without] {ngoods}," said {whom} [at the door|at parting], [tucking|putting] them
 into {his} bag
{ngoods} went home with {Who}, for {whom} [never let anyone leave|would not see {him} go] with empty
 hands

# visit_end
the {thing} stayed in {elsewhere} with {whom}, now {n}, and {who} [came home|was back] <time>
"[Next year|In a year]," {who} [thought|said] on the way home, "{whe} will be {next}, and I'll
 [come|visit] again."
{who} [counted|worked out] that {whom}, {n} now, would be {next} [when they met again|next year];
 {he} <smiled>
*{n_cap} this year, {next} the next: {who} already wondered what could match a {thing}

# race_call
"[From here|The race goes] to {place} and back," [called|said] {whom}, "and the [winner|first one
 home] gets a {thing}!" {who_cap} [lined up|took {his} place] with {rivals}
a [race|contest] was to be [run|held] to {place}, for a {thing}. {who_cap}, {rivals} [stood
 ready|tied their laces] <time>
{rivals} and {who} [wanted|hoped] to win the {thing} that {whom} had [offered|put up] for the
 [race|run] to {place}
<time>, {whom} [raised a flag|beat a pan|counted to three], and off they [went|ran] towards {place}:
 {who}, {rivals}, all after a {thing}

# lead
{whom} was [first|in front|ahead] {at} [with|and] {who} [close behind|at {whis} heels|a few steps
 back]
by {place}, {whom} [led|had the lead], and {who} [could hear {his} own heart|was second|kept up]
[soon|quickly] {whom} [shot|pulled] ahead; {who} [saved {his} breath|stayed calm|counted {his}
 steps] and came after

# fallen
then {whom} [tripped|slipped|stumbled] {at} and [cried out|sat holding {whis} ankle|could not get
 up]
[just|right|not far] ahead, {whom} [went down|fell] with a [thud|yell], [clutching|holding] {whis}
 knee

# stopped
[|<soon>, ]{who} [stopped|turned back], [though the others ran on|and let the rest pass]. "[Lean on
 me|Give me your hand]," {he} said to {whom}
"[Go on|Run]!" [cried|said] {whom}, but {who} [shook {his} head|knelt down] and [bound|rubbed] the
 [ankle|knee] with {his} scarf

# passed
[|<soon>, ]{who} [ran on|put on speed|saw {his} chance] and [passed|overtook] {whom} {at}
on the last [stretch|slope|bend], {who} [drew level with|flew past] {whom}, [arms pumping|hair
 flying|gasping]
"[Now|Faster]!" {who} told {self}, and [left {whom} behind|{whom} fell back]

# finish
first came {first}, then {second}, and {third} [last|third]
{first} won, {second} was second, and {third} [came in|finished] [third|last, laughing]
at {clock} {first} [crossed|broke] the [line|ribbon], [with|and] {second} [second|behind], and
 {third} [third|last of all]
*the [order|result] was soon told: {first}, {second}, {third}

# prize
{whom} gave {Who} the {thing}. [Everyone|The whole crowd] [cheered|clapped]
the {thing} went to {Who}, and {whom} made a [short|long|funny] speech
"[The|This] {thing} is yours," {whom} told {Who}, [shaking|patting] {his} hand

# prize_given
but {who} [held out|gave] the {noun} to {whom}. "[You stopped to help|You earned it]," {he} said
{who} [walked|went] over and [put|laid] the {noun} in {whis} hands. "[I only ran|You did more than
 run]," {he} said to {whom}

# race_end
{first} [kept|took home] the {thing}, {second} [kept|had] the memory, and all {n} of them [ate|had]
 supper together
[long after|years later], they [still|all] remembered the order: {first}, {second}, {third}, and the
 {thing}
the chalk on {whom}'s [wall|door] [told|showed] it for [weeks|a month]: {first} ahead of {second},
 {second} ahead of {third}, by [a nose|three steps|little]
*nobody asked any more who had been first, for {whom} had soup for {n}

# promise
"[Will you|Can you] {detail} before {clock2}?" asked {whom}. "I [promise|give you my word]," said
 {Who} [at once|gladly]
{who} [promised|gave {his} word to] {whom} that {he} would {detail} by {clock2}
{whom} had to go to {elsewhere}. "[Please|Don't forget to] {detail} before {clock2}." {who_cap}
 [nodded|promised] [twice|solemnly]
*a promise is a promise, and {who} had promised {whom} to {detail} by {clock2}

# tempted
but {at} {who} met {whom}, who was [off to|busy with|about to begin] {detail}. "[Come along|Join
 me]!" {whe} [called|said]
<time>, {whom} [waved|whistled] to {him} from {place}. There was to be {detail}[, and not a moment
 to lose|]!
"[Only|Just] [an hour|a while]," {whom} [begged|coaxed], for {at} there was {detail}

# resisted
[|<soon>, ]{who} [thought of|remembered] {his} [promise|word]. "[Later|Another time]," {he} said
 [firmly|with a sigh], and [went|turned] to {detail}
"I can't," {Who} [said|answered]. "I must {detail} first." And [that is what {he} did|off {he} went]
it was hard, but {who} [kept walking|shook {his} head]: first {he} would {detail}

# kept
at {clock}, {minutes} minutes early, {he} had [finished|done it]. {who_cap} had kept {his} word to
 {whom}
by {clock} it was done, [with|and there were] {minutes} minutes to spare
{who} [looked at the clock|heard the clock]: {clock}. {minutes_cap} minutes were left, and {whom}
 could [come|be pleased]

# forgot
they [laughed|talked|stayed] so long that {who} forgot [the time|everything]. It was {clock},
 {minutes} minutes too late
when the clock [struck|showed] {clock}, {who} [jumped|froze]: {minutes} minutes [late|past the hour
 {he} had promised]!
only at {clock} did {he} remember {his} word to {whom}, and by then it was {minutes} minutes too
 late

# confessed
{who} [told|confessed to] {whom} [what had happened|the truth], and did not [blame|mention] anybody
 else
"I forgot," {who} [said|told {whom}], "[and|so] I'm sorry. I'll {detail} [every day this week|for
 {n} days]."
{whom} was [angry|silent|disappointed] for a moment. "[You came|At least you came] and told me,"
 {whe} said. "[That|It] counts."

# amends
for {n} days, [rain or shine|morning and evening], {who} went to {detail}, [and was never
 late|always before {clock2}]
to make up for it, {who} gave {whom} {n} [evenings|mornings] of {his} time
*{n} days {he} gave to mend one forgotten hour

# word_kept_end
"[I knew I could|One can] rely on you," said {whom}, and gave {him} {ngoods} for having
 [remembered|thought] to {detail}
{whom} found everything as [promised|agreed] and [brought|gave] {Who} {ngoods} from {elsewhere}
when {whom} asked, {who} could [look {whim} in the eye|say yes]: {he} had said {clock2}, and
 {clock2} it was

# word_broken_end
{who} never again [promised|agreed] to {detail} without [tying a knot in {his} handkerchief|writing
 it on {his} hand]
"{minutes_cap} minutes," {whom} [teased|said] later, "and {n} days to pay for them!" {Who}
 [laughed|<smiled>] [too|at that]

# plan
{who} and {whom} had [planned|looked forward to] {detail} {at} for [days|a week|{n} days]
for {n} days {who} had talked of nothing but {detail} {at} with {whom}
"[Today|At last]," {who} told {whom}, "we'll have {detail} {at}!" They had [packed|waited] for {n}
 days
*{n} days they had waited, {who} and {whom}, for {detail} {at}

# turned
but <time> {change}
they had [hardly|only just] [arrived|begun] when {change}
"[Look|Oh no]," said {whom}, and [pointed|sighed]: {change}
[no sooner|scarcely] had {who} [sat down|unpacked the basket] {at} than {change}

# change_showers
[a cloudburst|a great shower] [soaked|drenched] [everything|them both]

# change_wind
a [gust|squall] [carried off|tore away] [the blanket|the basket|their hats]

# change_sun
a [black cloud|sudden shower] [came over the hill|hid the sun] and [it poured|rain came down in
 sheets]

# change_mist
the mist [thickened|came down] until they could not see [their own feet|ten steps ahead]

# change_clouds
the clouds [burst|broke] and [it poured|the rain came down]

# change_heat
the heat [broke|ended] with a [crash of thunder|hailstorm]

# change_thunder
lightning [split|lit] the sky and [rain|hail] [hammered|pelted] down

# change_rain
the rain [grew|turned] so heavy that the [path|lane] became a [stream|brook]

# change_snow
the snow [began to fall|came] so thickly that [the road|every path] [vanished|was gone]

# change_frost
an icy wind [rose|got up] and [numbed|bit] their [fingers|noses|ears]

# change_sleet
the sleet [turned to|became] hail[, and not the small kind|]

# shelter
[hand in hand|heads down|laughing], they ran to {place}, where {scene}
{whom} knew [a way|a short cut] to {place}, and there they [dried|warmed] themselves <time>
{place} was near, and [soon|in {minutes} minutes] both were {at}, [dripping|shivering] but safe
*any roof is a palace in such weather, and theirs was {place}

# instead
so they [had|held] {detail} {at} instead, [with {n} strangers|with everyone who had sheltered there]
"[Why not have|What about] {detail} here?" asked {whom}, and [soon|presently] {n} people [had joined
 in|were doing the same]
{n} others had [fled|come] there as well, and [together|before long] they all had {detail}
instead of [going home|moping], {who} [proposed|began] {detail}, and {n} [others|people] joined in

# spoiled_end
"[It was|That was] better than {detail}," said {whom}, and {who} [had to agree|thought so
 too|<smiled>]
they had [meant|planned] to have {detail}, and [had something better|got {why}]
{who} [wondered|asked] whether {detail} would have been half so <good> as {why}
*{detail} can wait, they agreed, but {why} comes once

# treat
{whom} [unpacked|brought out] {ngoods} and [shared them with|handed them to] {Who}[, who said thank
 you twice|, since good company deserves it|]
"[Who is hungry|Hungry]?" [asked|called] {whom}, and [gave|passed] {ngoods} to {Who}
{ngoods}, [a gift from|given by] {whom}, made the [waiting|afternoon|hour] [shorter|sweeter] for
 {Who}
"""
