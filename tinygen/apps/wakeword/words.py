"""Common English words and sentences for background speech, written for this purpose."""

from __future__ import annotations

import numpy as np

WORDS = tuple(
    """
    able about above across action actor advice after again air album alone along always amber angle animal answer
    apple april arena army around arrow artist autumn baby back bad bag baker ball banana band bank barn basket battle
    beach bean bear beauty because bed before begin behind bell below better between bicycle bird birthday bitter black
    blanket blue boat body book border borrow bottle bottom box boy branch brave bread break breakfast bridge bright
    bring broken brother brown bucket building burn bus business busy butter button cabin cake call camera camp candle
    captain car card careful carpet carry castle cat catch cattle ceiling center certain chair chance change cheap
    cheese chicken child chocolate church circle city class clean clear clever climb clock close cloud coast coat
    coffee cold collar color come comfort common company compare compete complete commuter composer compass computer
    concert cook cool copper copy corner cotton country couple course cousin cover crazy cream cross crowd cup curtain
    custom cut dance danger dark daughter day dead decide deep deliver dentist desert desk detail dinner dirty doctor
    dog dollar door double down dragon dream dress drink drive driver dry duck dust early earth east easy edge effort
    eight either electric elephant empty end engine enjoy enough evening every exact example excuse expect eye face
    fact fall family famous far farm fast father feather feel fellow fence fever few field fifteen fight figure fill
    film find finger finish fire first fish five flag flat floor flower fly follow food foot forest forget fork forty
    four fox free fresh friday friend front fruit full funny future game garden gate gather gentle giant gift girl give
    glad glass glove goat gold good grandmother grass gray great green ground group grow guess guest guitar hair half
    hall hammer hand happen happy hard harvest hat hate hay head health hear heart heavy height hello help here hidden
    high hill history hobby hold hole holiday home honest honey hope horse hospital hot hotel hour house hundred hungry
    hunt hurry husband ice idea important inside island jacket job join journey juice jump jungle just keep kettle key
    kick kind king kitchen kitten knee knife knock know ladder lady lake lamp language large last late laugh lazy lead
    leader leaf learn leather leave left lemon lesson letter level library light like line lion list listen little live
    local long look loose lost loud love low lucky lunch machine magic mailbox main make manner many map market master
    matter maybe meadow meal mean measure meat medicine meet melon member message metal middle milk million mind minute
    mirror miss mistake mix model moment monday money monkey month moon morning mother mountain mouse mouth move movie
    much music mustard name narrow nation nature near neck needle neighbor never new news next nice night nine noise
    noon north nose nothing notice number nurse object ocean offer office often old olive once onion only open orange
    order other outside over owner page pain paint pair palace paper parcel parent park party pass past pencil people
    pepper perfect person phone photo piano picture pie piece pilot pink place plain plan planet plant plate play
    please pocket poem point police polite pool poor popular possible potato pour powder power practice prepare present
    president pretty price prince printer prison problem promise proud public pull pupil purple purpose push puzzle
    question quick quiet rabbit radio rain rainbow raise reach read ready real reason record red remember repeat rest
    result return rice rich ride right ring river road robot rock roof room rope rose round rubber rule run sad safe
    sail salad salt sand saturday save say scene school science score sea season seat second secret seed seven shadow
    shake shape share sharp sheep sheet shelf shine ship shirt shoe shop short shoulder shout shower sick side signal
    silence silver simple sing sister sit six size skin skirt sky sleep slow small smell smile smoke smooth snake snow
    soap soccer soft soldier solid some song soon sorry sound soup south space speak special speed spell spend spider
    spoon sport spring square stage stairs stamp stand star start state station stay steal step still stone stop store
    storm story strange street strong student study sudden sugar summer sun sunday supper sure surprise sweater sweet
    swim table tail take talk tall tape taste taxi teach teacher team tell temper ten tennis test than thank theater
    thick thin thing think third thirty thousand three throw thunder ticket tiger time tiny tired tomato tomorrow
    tongue tonight tooth top total touch towel tower town toy train travel tree trip trouble truck true trust try
    tuesday turn turtle tutor twelve twenty two ugly umbrella uncle under until upper useful valley vegetable very
    village violin visit voice wait walk wall want warm wash watch water weather wedding week weight welcome west wet
    wheel white whole wide wife wild win wind window winter wish woman wonder wood word work world worry write wrong
    yard year yellow yesterday young zebra zero
    """.split()  # noqa: SIM905
)
"""Lower case; some are near misses of phrases that people like."""

_SENTENCES = (
    "the {w} is next to the {w}",
    "I would like a {w} and a {w}, please",
    "did you see the {w} yesterday",
    "turn the {w} off in the {w}",
    "what time does the {w} close",
    "she said that the {w} was too {w}",
    "there is a {w} under the {w}",
    "we should {w} before the {w} starts",
    "please {w} me when the {w} is here",
    "my {w} has never been so {w}",
    "how much is that {w}",
    "they are going to {w} again next {w}",
    "set a timer for {w} minutes",
    "play some {w} music in the {w}",
    "he forgot his {w} at the {w}",
    "is it going to rain on {w}",
    "nobody knows why the {w} is {w}",
    "can you {w} the {w} for me",
    "I think the {w} is broken",
    "let us talk about the {w} tomorrow",
    "good {w}, how was your {w}",
    "the news about the {w} was a surprise",
    "{w} or {w}, what do you prefer",
    "it was a {w} {w} with a {w}",
    "hey {w}, where is the {w}",
    "okay, the {w} can wait",
    "hello {w}, nice to meet you",
    "{w}",
    "{w} {w}",
    "{w} {w} {w}",
)


def sentence(rng: np.random.Generator) -> str:
    """A sentence, or a few words: grammatical more often than not."""
    pattern = _SENTENCES[int(rng.integers(len(_SENTENCES)))]
    while "{w}" in pattern:
        pattern = pattern.replace("{w}", WORDS[int(rng.integers(len(WORDS)))], 1)
    return pattern
