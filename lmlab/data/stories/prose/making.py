"""Prose for baking, mending, learning a skill, and sharing a neighbour's work."""

TEXT = """
# dish_plan
{who} [wanted|had promised|meant] to bake {dish} for {whom}, [enough for|and that for] {n}
 [people|guests|hungry mouths]
"[What about|Why not make] {dish}?" {who} [asked|said] to {whom}. "There will be {n} of us at the
 table."
{n} guests were [coming|expected], {whom} among them, and {who} [got out|looked for] the
 [big|old|best] bowl: there would be {dish}
"{dish_cap}," said {whom}, "I could eat {n}!" So {who} [tied on an apron|lit the oven|rolled up
 {his} sleeves]
*for {n} mouths, {whom}'s the largest, {who} set about making {dish}

# short_of
the [recipe|old cookbook|rule] called for {n} {stuff}, but {who} had only {total_n}: {missing} too
 few
"{n_cap} {stuff}," {who} read [aloud|from the page]. {he_cap} [counted|looked in the larder]:
 {total_n}. [So {he} needed|That left] {missing} [more|to find]
there [should|ought to] be {n} {stuff}; there were {total_n}. {Who} [did the sum|scratched {his}
 head]: {missing} were [missing|lacking]
[alas|bother]! Of the {n} {stuff} [it took|that were needed], {missing} were [missing|not there],
 for {who} found just {total_n}
*{total_n} {stuff} will not do the work of {n}, and {who} went in search of {missing}

# borrowed
[|<soon>, ]{whom} [kindly|gladly] [lent|gave] {him} the {missing} {stuff}. "[Bring|Save] me [one of
 the {dish}|some] when you're done," {whe} <said_w>
"{missing_cap} {stuff}? [Of course|Nothing easier]," said {whom}, [and filled {his} bowl|reaching
 for the shelf]
[|<soon>, ]{who} [knocked at the door of|ran across to] {whom} and came back with {missing}
 {stuff}[ and a piece of news|]
at the house of {whom}, {who} [begged|asked for] {missing} {stuff}, and [got|was given] them [at
 once|with a smile]

# baked
{who} [stirred|mixed|kneaded] and [sang|tasted|hummed], and by {clock}, {m} {dish} [stood|cooled] on
 the [table|sill|rack]
[an hour later|when the oven was opened], the kitchen [smelled|was] wonderful: {m} {dish},
 [golden|brown|crisp] and [hot|light|perfect]
<time>, {who} [drew|lifted] {m} {dish} out of the [oven|pan|embers], [each as round as a coin|not
 one of them broken]
it made {m} {dish} [in all|exactly]; {who} [burnt {his} thumb|licked the spoon|counted them proudly]

# burnt
but {who} [fell|got] to [talking|dreaming|reading], and {n} of them [burnt|turned black]; {total_n}
 [were|remained] good
"[Smoke|Oh no]!" [cried|called] {Who}. {n_cap} were [as black as coal|past saving], so {total_n}
 [remained|were left]
the [cat|dog] [knocked|swept] {n} of them [off the table|to the floor] and [fled|ate them], which
 left {total_n}
*{n} were lost to the flames, {total_n} were not, and {who} opened every window

# shared
[|<soon>, ]{whom} [got|was given|ate] {n} of them, [so|and] {total_n} {was_t} left
{n} went to {whom}, who [smacked {whis} lips|asked for the recipe|praised them], and [then there
 were|that left] {total_n}
"[May I|Could I have another]?" asked {whom}, and [took|had eaten] {n} before {who} [blinked|could
 answer]. {total_n_cap} {was_t} left
[|<soon>, ]{who} [carried|brought|sent] {n} to {whom} on a [plate|tin lid|tray]; {total_n} stayed
 [behind|on the rack]

# dish_end
of the {m} {dish}, {total_n} {was_t} left at bedtime, and {who} [hid|saved] them [for breakfast|for
 {whom}]
"{m_cap} we made," {who} told {whom} [over the dishes|at the end], "and {total_n} [are left|remain].
 [Not bad|We did well]!"
[last of all|before bed], {who} returned what {he} owed {whom}: {n} {stuff}[, to the last one|,
 neatly packed]
and since {n} {stuff} had come from {whom}, {n} went back the next day, [with|beside] {total_n}
 {dish} in a cloth

# broken
{whom} [came|stood at the door] with a {thing}. "[It|The {noun}] is broken," {whe} said.
 "{fault_cap}. Can you [mend|save] it?"
the {thing} of {whom} [would not work any more|was broken]: {fault_past}. {who} [promised to mend
 it|took it to {his} bench]
"Look at my {noun}," [sighed|said] {whom}. "{fault_cap}." {Who} [turned over|studied|shook] the
 {thing} [and nodded|for a while]
[by accident|in the storm|last night], the {thing} that {whom} [loved|used every day] had been
 broken: {fault_past}

# part
to [mend|repair] it {who} needed {detail}, and [that|such a thing] was to be had {at}
"[It takes|I'll need] {detail}," {Who} <said>, [searching|emptying] {his} drawers. "I must go to
 {place}."
there was none in the house, so {who} <walked> to {place} and [got|bought] {detail} for {coins}
 [from {whom}|]
[|<soon>, ]{at} {whom} [had|kept|sold] just the thing, {detail}, and {who} paid {coins} for it

# mended
[bit by bit|with great patience], {who} [cleaned|fitted|fixed] the {noun}, [glued|screwed|bound] it,
 and <time> it [was|looked] as [good as new|sound as ever]
[|<soon>, ]{who} worked [for {minutes} minutes|without looking up], and [then|at last] the {thing}
 was [whole|mended] again
by {clock} the {noun} was [mended|whole], with {detail} [in its place|to hold it together]
"[Hold|Give me] the lamp," {who} told {whom}. A [twist|tap|turn], a [drop of glue|little oil], and
 the {noun} [was whole|worked] again

# botched
the first [try|attempt] failed: {detail} [slipped|would not fit|snapped back], and {who} had to
 [begin again|start over]
{who} [dropped|lost] {detail} [under the floor|behind the bench] and [spent|wasted] {minutes}
 minutes [looking for it|on {his} knees]

# fee
"What do I owe you?" asked {whom}. "{coins_cap}," said {Who}, and {whom} [paid|counted them out]
 [gladly|at once|without a word]
[|<soon>, ]{whom} [paid|gave] {him} {coins} [and a handshake|for it], which was what the part had
 cost and {total_n} [more|besides]
[|<soon>, ]{who} [asked|took] {coins}, {total_n} more than the part had cost, and {whom} [thought it
 fair|gave it gladly]
*{coins} changed hands; that was {total_n} over the price of the part, and both thought it right

# no_fee
"[Keep your coins|Put your purse away]," said {Who}. "[You once helped me|You would do the same|It
 was a pleasure]." {Whom} [sent|gave] {him} {ngoods}, all the same
[|<soon>, ]{who} would take no money, so {whom} [left|sent] {ngoods} [on the bench|by the door]
 instead
"{n_cap} {goods}, then," said {whom}, when {who} [refused|waved away] the money

# skill_wish
{who} wanted to learn[ how|] to {detail}, and {whom} [could|knew how to] do it better than
 [anybody|most]
"[Teach|Will you teach] me to {detail}?" {who} asked {whom}, who [laughed|nodded] and said,
 "[Watch|Sit down|Come along] then."
{whom} could {detail} [with {whis} eyes shut|like nobody else], and [today|that {part}] {whe} was
 going to [show|teach] {Who}
*to {detail}: that was the wish {who} brought to {whom}

# attempt
the {ordinal} time {who} managed [only |]{n} {unit} before [it went wrong|{he} had to stop]. {whom}
 [nodded|clapped|hid a smile]
[|<soon>, ]{who} tried [again|once more]: {n} {unit}. "[Better|Not bad|Go on]," said {whom}
"{n_cap} {unit}!" [counted|called] {whom} after {his} {ordinal} try
[on {his}|at the] {ordinal} try, <time>, it came to {n} {unit}, [and {who} groaned|which was
 something|no less and no more]
{n} {unit}[, that was all|] at the {ordinal} attempt; {who} [wiped {his} brow|shook out {his}
 arms|stamped {his} foot]
*try number {total_n}: {n} {unit}, and {whom} wrote it on the wall

# advice
"{advice}," {whom} [advised|said|told {him}], "and [don't hurry|keep breathing|try again]."
[|<soon>, ]{whom} [took {his} hands|watched closely|showed {him} once more]. "{advice}," {whe} said.
 "[That's the secret|That's all]."
"You must {advice_bare}," [explained|said] {whom}, [for|and] {whe} had [learnt|found out] that long
 ago

# skill_done
and then {he} did it: {n} {unit}! {whom} [threw {whis} hat in the air|shouted for joy|shook {his}
 hand]
<time>, on {his} {ordinal} try, {who} [reached|made] {n} {unit}, and {whom} [cheered|could hardly
 believe it]
"{n_cap}!" {whom} [cried|shouted]. "{n_cap} {unit}! [You can do it|You've got it]!"
{n} {unit}, one after another, [clean|easy] and sure: {who} could {detail} at last

# skill_end
from {n} {unit} to {total_n} in [one day|a day]! {who} [told everyone|could not sleep for
 joy|practised on in {his} dreams]
"You began with {n} {unit}," {whom} reminded {him}, "and ended with {total_n}. [Remember that|That's
 {more} more]."
{who} [wrote|chalked] two numbers on the [door|wall]: {n}, for the first try, and {total_n}, for the
 last, {more} more
*{n} {unit} at first and {total_n} in the end: {more} more, and all by following {whom}

# task
{whom} had {n} {load} to [move|carry|put away] [before dark|alone], and {whis} back [hurt|ached].
 "[I'll help|Let me help]," said {who}
{at} {who} saw {whom} beside {n} {load}, [sighing|resting|wiping {whis} face]. "[Shall we|Let's] do
 it together?" {he} asked
"{n_cap} {load}!" [groaned|sighed] {whom}. "[I'll never|How can I ever] [finish|get through]." {Who}
 [took off {his} coat|rolled up {his} sleeves]
there were {n} {load} [to be moved|waiting] {at}, and {whom} had only two [hands|arms], so {who}
 [lent a hand|offered to help|took hold as well]

# carried
by {clock}, {who} had [moved|carried] {n} {load} and {whom} {m}; {total_n} {was_t} left
[|<soon>, ]{who} [took|managed] {n} {load}, {whom} {m}, [which left|and there remained] {total_n}
{n} {load} [fell to|were the share of] {who}, {m} [to|of] {whom}. {total_n_cap} more [to
 go|remained]
[an hour|half an hour] later they [rested|counted]: {n} by {Who}, {m} by {whom}, {total_n} [still
 there|left]
*together they had shifted {sum_n}, {n} of them {his}, and {total_n} {load} were left to do

# rest
[they|the two of them] [drank|shared] [cold tea|cider|well water|hot broth] [on the wall|in the
 doorway] and [talked of|argued about] {wlikes}
"[Rest|Sit] [a minute|a while]," said {whom}, and told {him} about {wlikes} [till|until] they [both
 laughed|were rested]
for {minutes} minutes they [sat|rested], and {whom} [spoke|dreamed] of {wlikes}

# task_done
[at last|by {clock}] all {n} {load} were in their place. {who_cap} had [moved|done] {m}, {whom}
 {total_n}
"[Done|Finished]!" [cried|said] {whom}. "{n_cap} {load}: {m} for you, {total_n} for me."
{m} and {total_n} make {n}, and [not one|none] of the {load} was left. {whom} [thanked|embraced]
 {Who}
*{n} {load}, every last one: {who} had carried {m} of them and {whom} {total_n}

# reward
[|<soon>, ]{whom} would not [let {him} go|hear of {him} leaving|part from {him}] without {ngoods}
 [as thanks|for the way home]
in return, {whom} gave {him} {ngoods}[, and a standing invitation to supper|, the best {whe} had|]
"[Help|Work] like that is worth more than {ngoods}," said {whom}, "but [please take them|it's what I
 have]."

# returned
<time>, {who} [brought|carried] the {noun} back to {whom}, who [turned it over|tried it at
 once|looked for the place] and [found nothing wrong|nodded|beamed]
"[Like new|Better than before|You'd never know]!" said {whom}, when {who} [put|set] the {thing}
 [before {whim}|in {whis} hands]
[|<soon>, ]{whom} [ran|came] to meet {him}. {who_cap} [held out|unwrapped] the {thing},
 [mended|whole] and [clean|gleaming]

# mend_end
and the part? {coins_cap} it had cost, and [without it|but for it] the {thing} of {whom} would be
 [rubbish|firewood|junk] now
{whom} [uses|has] the {noun} still. Nobody would [guess|think] that once {fault_past}
[that {part}|before sleeping] {who} [wrote|noted] in {his} book: {noun} of {whom}, {fault_past};
 part, {coins}
*once {fault_past}; now the {thing} of {whom} was the soundest in {village}

# task_end
"{m_cap} {load}," {who} [told everyone|said at supper], [rubbing|stretching] {his} arms. "{m_cap} of
 {n}! [Feel|Look at] this muscle."
[that {part}|in bed] {who} still saw {load} before {his} eyes: {m} of the {n} {he} had
 [carried|moved] {self}
{whom} [told the whole village|never forgot] who had [carried|moved] {m} of the {n} {load}
*{m} of {n}, said {his} tired arms, {m} of {n} {load}
"""
