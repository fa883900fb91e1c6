"""Prose for buying and selling, barter, and parcels carried to their owners."""

TEXT = """
# stock
{who} had {ngoods} to sell at {price} [each|apiece], and [hoped|wanted|meant] to [buy|earn enough
 for] a {thing} [for|as a present for] {whom}
[that {part}|<time>] {who} [packed|loaded|counted] {ngoods}. At {price} each, {he} [reckoned|hoped],
 they would [pay for|buy] a {thing}, which {whom} had [long wanted|wished for|been dreaming of]
in {his} [cart|basket|barrow] were {ngoods}, [every one|each] worth {price}; in {his} head was a
 {thing}, the very thing for {whom}
"{n_cap} {goods}, {price} each," {Who} [counted|said|sang]. "If I sell enough, {Whom} shall have
 [a|that] {thing}."
{whom} [needed|wanted] a {thing}, so {who} [set out|went] to [sell|part with] {ngoods} for {price}
 [each|apiece]
*everything hung on {ngoods}, at {price} each, for {whom} had set {whis} heart on a {thing}

# sale
[|<soon>, ]{whom} [bought|took|chose] {ngoods} and [paid|counted out|handed over] {coins}, [so
 that|and so] {total_n} {was_t} left
"I'll take {n}," said {whom}. "That makes {coins}," said {Who}, and [then there were|that left]
 {total_n} [to sell|in the basket|]
[{n}|no fewer than {n}] {goods} went to {whom} for {coins}[; {total_n} remained|, and {total_n}
 remained|. {Who} still had {total_n}]
"[What|How much] do you ask?" said {whom}, [feeling|weighing|sniffing at] one. {Who} named {his}
 price, and {whom} [bought|carried off] {n} of them for {coins}, leaving {total_n}
<time>, came {whom}, [who was|always] {wtrait}, and [left|went away] with {ngoods}, {coins}
 [poorer|lighter]. {total_n_cap} {was_t} left
*{whom} laid {coins} on the boards, took {n}, and {total_n} looked a little lonely

# tally
[|<soon>, ]{who} [counted|added up] the [money|coins] [twice|with care|on {his} fingers]: {coins}
 [in all|altogether|to the last one]
by {clock} {he} had [earned|taken in|made] {coins}, and {ngoods} {was_n} left
"{coins_cap}," {Who} <said>, [shaking|jingling] {his} purse. [Was it|Would that be] enough?
[there were|{he} had] {coins} in the purse[ now|, no more and no less,|] and {ngoods} in the
 [basket|cart]

# asking
the {noun} cost {coins}
"The {noun}? {coins_cap}," said {whom}[, the owner of the stall|, who sold such things|]
{whom} [wanted|asked] {coins} for the {thing}[, and not a coin less|, as it was a good one|]
on the stall of {whom} stood the {thing}, [marked|priced] at {coins}

# paid
[|<soon>, ]{who} [counted out|put down|paid] {coins} and [took|received] the {thing}; {total}
 {was_t} left over
"[Done|It's a bargain|Sold]!" {who} gave {whom} {coins}, [and kept|which left {him}] {total}, and
 the {noun} was {his}
with {coins} [paid|gone] and {total} [in {his} pocket|to spare], {who} [carried off|owned|held] the
 {thing}
[|<soon>, ]{whom} [wrapped|packed] the {thing} [in straw|in paper|in a cloth], {who} paid the
 {coins}, and {total} stayed in the purse

# short
{who} was {coins} short. {he_cap} [bit {his} lip|looked at the ground|counted again], <sorrowful>
{coins_cap} {was_c} missing! [So near|So close], {he} thought, [and yet so far|and it might as well
 be a hundred]
"I have [only|no more than] {total}," {who} [said|admitted]. "I need {coins} more."
no matter how {he} counted, it was {total}, and [that was|it left {him}] {coins} too [little|few]

# bargain
"[Give|Let] me the {total} [you have|and a smile]," said {whom}, "and it's yours." {Who} [could
 hardly believe it|<smiled>|thanked {whim} twice]
[|<soon>, ]{whom} [looked at|thought about] it [for a while|long and hard]. "For a
 [friend|neighbour|good soul], {total} will do," {whe} said
"Make it {total} and [help me pack up|sing me a song|tell nobody]," said {whom}, and so [it was
 done|the {thing} changed hands]

# lent
[|<soon>, ]{whom} [heard|saw] it all. "Here are {coins}," {whe} said, "[pay me back|I'll have them
 back] when you can," and {who} [took|accepted] them [gratefully|with a deep bow]
"I'll lend you {coins}," [offered|said] {whom}, "until [next week|the next market|you have sold the
 rest]."
*{whom} dropped {coins} into {his} palm as if they were crumbs, and would hear no thanks

# repaid
and the {coins} from {whom}? {who} paid [all of it|every bit] back [within the week|to the last
 one|a week later]
[before a week was out|by the next {weekday}], {who} had [paid back|returned] the {coins} that
 {whom} had [lent|trusted] {him}
{whom} had {whis} {coins} back [by|before] the next {weekday}, [with a kind word|in a little bag|to
 the last one]

# present
<time>, {who} gave {whom} the {thing}. "For me?" {whe} [cried|asked|whispered]. "[It is|It's]
 [just|exactly] what I wanted!"
[|<soon>, ]{whom} [unwrapped|turned over|stroked] the {thing} [again and again|with shining
 eyes|without a word], and {who} felt <joyful>
[|<soon>, ]{who} put the {thing} [on the table|into {whis} hands|beside {whis} plate] and
 [waited|said nothing]. {Whom} [laughed|wept a little|jumped up] for joy
"[Close your eyes|Guess what this is|Hold out your hands]," {who} told {whom}. A moment later {whe}
 was holding a {thing}

# market_end
so {ngoods} had become a {noun}[, and everybody was content|, and that was good trade|]
of {his} {ngoods}, {total_n} came home [again|unsold] and went into the [larder|cupboard]; the
 {noun} went to {whom}
{who} had set out with {ngoods} and [came|gone] home with {coins} and a [light|full|happy] heart
{n} {goods} at dawn, {coins} at dusk, and a {noun} [given away|in between]: {who} [did the
 sum|counted it up] and <smiled>

# want
{who} [needed|wanted|longed for] {whom}'s {thing} [for {his} work|more than anything|badly]. "You
 can have it," {whom} [said|told {him}], "if you bring me [a|such a thing as a] {detail}."
"My {thing}? [Gladly|Why not]," said {whom}, "but I [need|must have|am looking for] a {detail} [in
 return|for it]."
{whom} would not sell {whis} {thing}. "But for a {detail} I would [swap|give] it [at once|happily],"
 {whe} <said>
{who} asked {whom} for the {thing}. {whe_cap} [thought|shook {whis} head|frowned]: "[Not for
 money|Money is no use to me]. For a {detail}, yes."

# owner
the only {thing} in {village} [belonged|was said to belong] to {whom}[, who was {wtrait}|]. "I'd
 [trade|swap] it," {whe} said, "for a {detail}."
{who} [heard|learnt|remembered] that {whom} had a {thing}. {Whom}, though, [asked|wanted|needed] a
 {detail} [for it|in exchange]
"[Bring|Find] me a {detail}," said {whom}, who [owned|had] a {thing}, "and we [are|have] [agreed|a
 bargain]."
[off {he} went|so {who} went] to {whom}, owner of a {thing}, who [wished for|wanted] nothing in the
 world but a {detail}

# have
now, a {thing} was something {who} had [at home|in the cupboard|to spare]! {he_cap} [ran|hurried] to
 [fetch|get] it
"A {thing}? I have one!" {Who} [cried|laughed|exclaimed], and [fetched|brought] it <time>
luckily {who} [owned|possessed] a {thing}, [a gift|bought] [from|in] better days, and [could spare
 it|did not need it]

# swap
[|<soon>, ]{who} gave {whom} the {given} and [got|received|took] the {thing} [for it|in exchange]
the {given} went to {whom}, the {thing} to {Who}, and both [were content|shook hands|thought they
 had won]
[|<soon>, ]{whom} [took|examined|weighed] the {given}, [nodded|smiled], and [handed over|let go of]
 the {thing}
"[Fair is fair|A deal is a deal]," said {whom}, [holding|hugging] the {given}, and {Who} [walked
 off|went on] with the {thing}
*hand to hand they passed, the {given} one way and the {thing} the other

# chain_end
{n_cap} swaps, and everyone had what they wanted: {detail}
{who} [laughed|smiled] to think of it: {detail}
[that evening|at supper], {who} told {whom} about it: {detail}. Nobody had paid a coin
*not a coin was paid, and at the end of it {detail}

# parcels
{whom} gave {Who} {n} parcels to deliver [before {clock2}|that day]: {detail}
{n} parcels stood ready, [one for each door|neatly tied]: {detail}. "[Don't mix them up|Mind the
 string]," said {whom}
{who} had [promised|agreed] to carry {n} parcels for {whom}: {detail}
*{n_cap} knots, {n} labels, {n} parcels from {whom}: {detail}

# deliver
<time>, {who} [handed|gave|brought] {whom} the {thing} {at}, [so that|and] {parcels} {was_t} left
[|<soon>, ]{whom} [was waiting|stood] {at} and [took|received] the {thing} with [a smile|both
 hands|a cry of joy]. {parcels_cap} to go
"A {noun}! [At last|For me]!" [cried|said] {whom} {at}. {Who} [bowed|<smiled>] and went on with
 {parcels}
{at} lived or worked {whom}, who [signed for|unpacked|admired] the {thing} [at once|with care], and
 {who} had {parcels} left

# mixed
[but then|only then|too late,] {who} saw that {he} had given {whom} the wrong parcel. Back {he}
 [ran|went], [out of breath|red in the face], and [put it right|changed it] [before anyone
 minded|with a hundred apologies]
"[Excuse me|Wait]," said {whom}, "this label [has|bears] another name." {who} [blushed|groaned] and
 [swapped|changed] the parcels [at once|in a hurry]

# tip
for {his} [trouble|pains|long walk], {whom} gave {him} {ngoods}
"[Take|You must take] {ngoods}," {whom} [insisted|said], "[for|since] you came [so far|on such a
 day]."
[|<soon>, ]{whom} [pressed|slipped] {ngoods} into {his} [bag|hands|basket] before {he} could [say
 no|refuse]

# round_end
{who} [told|reported to] {whom}: {n} parcels, {n} doors, {detail}
when {whom} asked {him} how it had gone, {who} [said|counted]: "{n_cap} parcels[ delivered|],
 {detail}."
"[All|Every one of the] {n}?" [asked|said] {whom}. "[All {n}|Every one]," said {Who}: "{detail}."
"""
