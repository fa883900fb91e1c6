"""Prose for what is lost and found, hunted by clues, or thought wrongly of somebody."""

TEXT = """
# treasure
{his} [dearest|greatest] treasure was a {thing}, [a gift from|given {him} by] {whom} [for|as a
 reward for] {why} [at the age of {n}|when {he} was {n}]
when {Who} was {n}, {whom} had [given|handed|left] {him} a {thing} for {why}, and {he} [kept it
 close|took it everywhere|would not part with it] [ever since|from then on]
{who} [always|everywhere|faithfully] carried a {thing} with {him}. {whom} had [bought|found|made] it
 for {him} when {he} was {n}, [as thanks|as a prize|in return] for {why}
"This is for {why}," {whom} had said [long ago|one day], and [put|laid|pressed] a {thing} into {his}
 hands; {he} was {n} then, and it [never left {his} side|was {his} pride|went wherever {he} went]
[at {n}|aged {n}], {who} had [earned|been given|received] a {thing} from {whom} for {why}, and [even
 now|still] {he} [cleaned it daily|showed it to everyone|kept it in {his} pocket or bag]
*among all {he} owned, nothing was like the {thing}: {whom} had chosen it when {he} was {n}, for
 {why}

# missed
<time>, {at}, {who} reached for the {noun}, and it was [gone|not there|missing]
"My {noun}!" {Who} cried {at}. "I had it [this very {part}|a moment ago|when I set out]!"
{at} {he} [searched|turned out|felt in] [every pocket|{his} bag|{his} coat]: [no {noun}|the {noun}
 was gone]
[suddenly|all at once], {who} [stood still|went pale|gasped]. Where was the {thing}?
[imagine|think of] {his} [fright|dismay] when {he} [noticed|saw|found] {at} that the {thing} was
 [gone|lost]
it was {at}, at {clock}, that {who} [missed|could no longer find] the {thing}, and {he} felt
 <sorrowful>
*a pocket can be the emptiest place on earth, as {Who} [learnt|found] {at} when the {noun} was not
 in it

# lost_hint
"Have you seen a {thing}?" {who} asked {whom}. "[No|Sadly not|I'm afraid not]," said {Whom}, "but
 [try|look in|go back to] {detail}[ first|, if I were you|]."
{whom} had not seen the {noun}. "[Where|When] did you have it last?" {whe} asked. "[At|By]
 {detail}," {who} [said|answered] [slowly|at last|in a small voice]
"A {noun}? What sort?" [asked|said] {whom}. "A {thing}," said {Who}. "Then [ask|try|look round]
 {detail}," {whe} [said|advised|suggested], [scratching|shaking] {whis} head
{who} told {whom} [everything|the whole story|what had happened]. "Don't [worry|fret|cry]," {whe}
 said. "[Go|Run] to {detail}. Lost things [like|love] such places."
{whom} [put an arm round {him}|listened carefully|frowned] and [asked|wanted to know] where {he} had
 been, and {who} named {detail} [and one or two other places|first of all|without hope]
*"Things don't walk," {whom} told {him}. "Begin with {detail}[, and begin now|]."

# search
[|<soon>, ]{at} {who} [searched|looked|felt about] {spot} and found {odd}, but no {noun}
[|<soon>, ]{who} <walked> to {place}. {spot} there was {odd}, [and nothing else|yet no {noun}|but
 not what {he} wanted]
[first|next|then] came {place}: {he} [peered|looked|reached] {spot}, and [pulled out|met|uncovered]
 {odd}
[on hands and knees|bit by bit|with great care], {who} searched {place}. {odd_cap}: that was all
 {he} found {spot}
"[Not here|Nothing|No luck]," {Who} <said> {at}, where {he} had found [only|nothing but] {odd}
 {spot}
{place} [came next|was searched from end to end|took until {clock}]. [Alas|However|As it was],
 {spot} lay only {odd}
*of all places {he} tried {place}, and {spot} was {odd}, which was no help to anyone

# found
[and there|there at last|and then], {spot} {at}, [lay|was|shone] the {thing}!
[|<soon>, ]{who} [bent down|looked closer|moved a board], and {spot} {he} saw [something {colour}|a
 glint]: it was the {noun}[, not even scratched|, safe and sound|]
"[Found it|Here it is|At last]!" {Who} [cried|shouted|called] {at}, and [held|lifted] the {thing}
 [high|to the light], for it had been {spot} [all the time|all along]
{spot} {at} {he} [touched|saw|felt] [something familiar|a shape {he} knew], and [out came|it was]
 the {thing}
time seemed to stop. {spot}, {at}, the {thing} was [waiting|lying] [as if nothing had happened|for
 {him}]
*the last place one looks is the right one: {spot} {at} was the {noun}, {looks} as ever

# handed
[|<soon>, ]{whom} came [running|hurrying|limping] up with something[ {colour}|] in {whis} hand. "Is
 this [yours|your {noun}]? It was {spot} {at}."
"[I believe|I think] this is yours," said {whom}, and gave {him} the {thing}. {whe_cap} had found it
 {at}, {spot}
[as luck would have it|by good fortune], {whom} had [found|seen|picked up] the {noun} {spot} {at},
 and [brought|carried] it [back|to {him}] <time>
[|<soon>, ]{whom} [opened|held out] {whis} hand, and there was the {thing}. "[I came upon it|It lay]
 {spot} {at}," {whe} [explained|said|told {him}]

# magpie
[a flash of black and white|a harsh cry] made {Who} look up. {at}, a magpie [hopped|strutted] away
 from {spot}, where it had hidden the {thing}
*a magpie had taken a fancy to the {noun}: {spot} {at}, {who} found its hoard, and the {thing} on
 top

# thanks
[|<soon>, ]{who} was <joyful>, and [at once |]gave {whom} {ngoods} [in return|as a thank-you|then
 and there]
"You [must|shall] have {ngoods} for this," {Who} <said>, and {whom} [took them home|did not say
 no|was very pleased]
{ngoods} {was_n} all {who} had with {him}, and {he} gave {them} to {whom} [with a full
 heart|gladly|at once]
to thank {whom}, {who} [handed over|brought out] {ngoods}, [and they parted as friends|and both were
 happy|and no more was said]
*thanks are easily said; {who} [added|put] {ngoods} to {whis} [basket|hands] as well, and {Whom}
 <smiled_w>

# keepsake_end
the {thing} [lay|stood|hung] [by {his} bed|beside {him}|in its place] [that night|again], just as it
 had since {whom} gave it to {him} for {why}
"[Never again|I'll not lose you twice]," {Who} told the {noun}, and [thought of|remembered] {whom},
 who had given it for {why}[ when {he} was {n}|]
{he} [wiped|polished|dusted] the {thing} and [thought of|thanked] {whom} in {his} heart, for without
 {why} {he} would never have had it
when {he} told {whom} about it, {whe} only [laughed|nodded|said], "That comes of {why} [at {n}|when
 you were {n}]. [Keep it well|Sew it to your coat next time]."
{who} [tied|fixed] a string to the {noun}. [For {why}|It was for {why}], {whom} had said back then,
 and {he} [meant|wanted] to [deserve|earn] it still
*{whom} never learnt how near the {thing}, won at {n} for {why}, had come to being lost

# clue_start
{whom} had hidden a {thing} [somewhere|for {him}], and [gave|handed|sent] {him} [a note|a slip of
 paper]: "[Start|Begin] {at}[. There will be {n} clues|, and follow {n} clues|]."
"There is a {noun} for you, if you can find it," said {whom}. "{n_cap} clues lead to it. The first
 is {at}."
on {his} [plate|pillow|doorstep] {who} found a card from {whom}: "[Seek|Find] a {thing}. {n_cap}
 clues. [Begin|Start] {at}!"
it was a [custom|game] between {who} and {whom}: one hid a prize, [this time|today] a {thing}, and
 the other followed {n} clues, [starting|beginning] {at}

# clue
clue number {total_n} was {spot} {at}. It [said|read]: "{riddle}" {Who} [knew|saw|guessed] that it
 [meant|was] {detail}
{at}, {spot}, {who} [found|drew out|unrolled] the {ordinal} clue. "{riddle}" "[That|It] must be
 {detail}!" {he} [cried|thought|decided]
[|<soon>, ]{who} <walked> to {place}, and [sure enough|as promised|there], {spot}, [stuck|lay|hung]
 the {ordinal} clue: "{riddle}" So {detail} was next
<time>, {who} [found|discovered] the {ordinal} clue {spot} {at}. It [read|said]: "{riddle}" [For a
 while|At first] that was a [puzzle|mystery]; then it took {him} [some time|a minute|no time] to
 think of {detail}
*{ordinal} clue, {spot} {at}: "{riddle}" What else [could|would] that be but {detail}?

# clue_end
{n_cap} clues after {he} had set out, {who} stood {at}, and {spot} was the {thing}, [wrapped|tied
 up] in [paper|ribbon|a clean cloth]
{who} [ran|raced] to {place}. {spot} there was [no clue|no note] now, but the {thing} itself, and
 {whom} [waiting|clapping] beside it
every clue had [told the truth|been fair]: {spot}, {at}, [gleamed|lay] the {thing}. "[Well
 done|Bravo]," said {whom}
"[You needed|It took you] {minutes} minutes," said {whom} {at}, while {who} [lifted|took] the
 {thing} from where it lay, {spot}
*{at} the trail ended: {spot}, {n} clues from the start, was a {noun} with {his} name on it

# suspect
[|<soon>, ]{at} {who} saw {whom} [hide|slip|push] something [under {whis} coat|into a sack|behind
 {whis} back] and [hurry|walk|steal] away
<time>, {who} heard {whom} [whisper|say softly] {at}: "{he_cap} must not know. [Not a word|Say
 nothing] to {Who}!"
[|<soon>, ]{whom} [stopped talking|turned red|shut the door] as soon as {who} came [near|in], and
 would not say why
"I have no time today," said {whom}, [hiding|covering] a paper, when {who} [called|waved] to {whim}
 {at}
[twice|three times] that day {who} asked {whom} to come along, and [twice|each time] {whe} [made
 excuses|looked away|shook {whis} head]
*{whom}, who told {him} everything, walked past {him} {at} with {whis} eyes on the ground

# wrong_guess
{who} [thought|was sure|decided] that {whom} [was angry with {him}|did not like {him} any more|was
 going away for good|had found a better friend], and [felt|was] <sorrowful>
"[So that's it|I see], {whe} [wants|means] to [leave|be rid of me]," {Who} [thought|told {self}],
 <sorrowful>
[not knowing|without asking], {he} made up {his} mind: {Whom} must be [cross about|still thinking
 of] [the broken cup|last {weekday}|an old quarrel]. {who} [went|stayed] <sorrowful> all {part}
a cold stone seemed to sit in {his} chest. Had {whom} [forgotten|given up|got tired of] {him}?

# cold
when {whom} [greeted|called|smiled at] {him} later, {who} [turned away|did not answer|answered with
 one word]
[|<soon>, ]{who} [gave back|sent back] the {thing} that {Whom} had lent {him}, without a word of
 thanks
at [table|the pump|the gate], {who} [said nothing|looked at the floor|spoke to everyone but {whom}]
"[I'm busy too|Leave me alone|Ask your other friends]," {who} told {whom}, and [was sorry at
 once|ran off|shut the window]

# truth
<time>, {whom} [came to|stood at] the door with a {thing}. "[Happy birthday|For your birthday],
 {Who}! You are {n} today. I [worked on it|saved for it|hid it] for {total_n} days."
"Surprise!" {at}, {whom} [lit {n} candles|pulled away a cloth|threw open the door]: there stood a
 {thing}, [made|meant] for {his} {nth} birthday
then {he} [saw|understood] it all. {whom} had spent {total_n} days [making|painting|mending] a
 {thing}, since {who} turned {n} that very day
{Whom} [put|laid] a {thing} [on the table|in {his} arms]. "{n_cap} years old," {whe} said, "and
 {total_n} days it took me to keep it from you!"

# sorry
"I thought you [were angry|had forgotten me|wanted to leave]," {Who} [said|stammered]. "[Forgive
 me|I'm sorry|How silly of me]." {Whom} [laughed|hugged {him}|shook {whis} head]
{who} [went red|hung {his} head|laughed until {he} cried], and [told {whom} everything|begged {whis}
 pardon|confessed what {he} had thought]
"Next time, ask," said {whom} [kindly|with a wink|and cut the cake], and {who} promised [to|{he}
 would]
[in all {his} {n} years|at {n}], {who} had never been so [wrong|foolish] and so <joyful>
*it takes a moment to think ill of somebody and an evening to be forgiven; {whom} was
 [quicker|kinder] than that
"""
