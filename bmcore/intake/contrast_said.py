"""Whether the words of a name say that contrast agent was given.

A word for without or before denies the agent that follows, over words that nobody listed, unless
a word for with or after stands between. Where it is not certain what is denied, both is said, so
that nobody takes a native image for one after contrast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bmcore.intake import contrast_words as words
from bmcore.intake.sequence_words import NAMED, T1_CONTRAST, T1_NATIVE, TAILS


def read(said: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what says that there is contrast agent, what says that there is none), in words of the name.

    The name of a sequence parts it: words before it, of a patient or study, do not deny what is
    said behind it.
    """
    signs: list[str] = []
    denials: list[str] = []
    start = 0
    for place, word in enumerate([*said, ""]):
        if word and word not in NAMED:
            continue
        run = _Run(list(said[start:place]), leading=start == 0 and bool(word))
        run.read()
        signs += run.signs + [word] * (word in T1_CONTRAST)
        denials += run.denials + [word] * (word in T1_NATIVE)
        start = place + 1
    return signs, denials


@dataclass
class _Run:
    """Words between two names of sequences. leading: those before the first.

    lead: the place of the last word for without or with, until something ends its reach; no: which
    of the two; spent: an agent was told by it; unsure: what it denies may be another thing.
    """

    words: list[str]
    leading: bool
    signs: list[str] = field(default_factory=list)
    denials: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)  # agents that nothing led
    lead: int | None = None
    no: bool = False
    spent: bool = False
    unsure: bool = False

    def read(self) -> None:
        for place, word in enumerate(self.words):
            if self._told_of_series(place):
                continue
            if word in words.BOTH or self._unclear(place):
                self._both(place)
            elif self._is_none(place):
                self._deny_what_stands_before(place)
            elif word in words.LATER and (self.bare or self.denials):
                self.signs.append(" ".join((*self.bare, word)))
                self.bare = []
            elif self._is_agent(place):
                self._agent(place)
            elif (word in words.NO or word in words.NONE) and self._counts(place):
                self._lead(place, no=True)
            elif word in words.YES or word in words.POST or word in words.LATER:
                if self._counts(place):
                    self._lead(place, no=False)
                else:
                    self._other(place)
            elif word in words.NATIVE and self._after(place) not in words.NOT_OF_CONTRAST:
                self.denials.append(word)
            elif word not in words.AND:
                self._other(place)
        self._end()
        self.signs += self.bare

    def _told_of_series(self, place: int) -> bool:
        """ "KM Gabe nach dieser Serie": the agent came after these images; with "vor" before."""
        word, rest = self.words[place], self.words[place + 1 : place + 4]
        named = next((n for n, w in enumerate(rest) if w in words.SERIES), None)
        if not self.bare or named is None or any(w in words.AGENT for w in rest[:named]):
            return False
        if word in words.AFTER:
            self.denials.append(" ".join((*self.bare, word, *rest[: named + 1])))
        elif word in words.BEFORE:
            self.signs.append(" ".join((*self.bare, word, *rest[: named + 1])))
        else:
            return False
        self.bare, self.lead = [], None
        return True

    def _both(self, place: int) -> None:
        """It cannot be told, or both is told: by these words."""
        told = " ".join(self.words[place if self.lead is None else self.lead : place + 1])
        told = told.replace("plusminus", "+/-")
        self.signs.append(told)
        self.denials.append(told)

    def _unclear(self, place: int) -> bool:
        """Whether a word means without in one language and with in another."""
        word = self.words[place]
        expected = words.UNCLEAR.get(word)
        if word in words.OF and self.lead is not None:
            return False
        named = next((w for w in self.words[place + 1 :] if w not in words.AND | {"iv"}), "")
        agent = named in words.AGENT or named in words.WEAK
        return expected is not None and agent and not named.startswith(expected)

    def _after(self, place: int) -> str:
        return self.words[place + 1] if place + 1 < len(self.words) else ""

    def _lead_word(self) -> str:
        return "" if self.lead is None else self.words[self.lead]

    def _open(self) -> bool:
        return self.lead is not None and not self.spent

    def _is_agent(self, place: int) -> bool:
        word, rest = self.words[place], self.words[place + 1 :]
        if word in words.AGENT:
            return True
        if word == "c" and not (self.leading and not place):
            before = self.words[place - 1] if place else "t1"
            if (before in TAILS or not place) and set(rest) <= TAILS:
                return True
        later = word in ("con", "c") and any(w in words.AGENT for w in rest)  # con contraste
        return word in words.WEAK and self.lead is not None and not later

    def _counts(self, place: int) -> bool:
        """Whether a word for with or without is meant as such: a short one only where an agent or
        another such word follows; "no" in front of a number is none."""
        word, after = self.words[place], self._after(place)
        if word == "no" and after[:1].isdigit():
            return False
        if word in words.FAR or (len(word) > 2 and word not in words.NEAR):
            return True
        return any(after in known for known in (words.AGENT, words.WEAK, words.NO, words.YES,
                                                words.AND))  # fmt: skip

    def _is_none(self, place: int) -> bool:
        """No agent, told behind its name: KM nein, contrast not given, gado_sans."""
        word, after = self.words[place], self._after(place)
        if not (self.bare or self.signs):
            return False
        ends = set(self.words[place + 1 :]) <= TAILS and after not in words.OTHER
        return word in words.NONE or (word in words.LAST and (ends or after in words.GIVEN))

    def _deny_what_stands_before(self, place: int) -> None:
        word = self.words[place]
        self.denials.append(" ".join((*self.bare, word)))
        # after "nach KM" nothing can be denied for sure: the signs stay, so both is said
        self.bare = []
        self.lead, self.no, self.spent, self.unsure = place, True, True, False

    def _lead(self, place: int, no: bool) -> None:
        if self._open() and not self.no and self._lead_word() in words.POST:
            self._stands_alone()
        elif self._open() and not self.unsure and self.no != no:
            self._both(place)
        self.lead, self.no, self.spent, self.unsure = place, no, False, False

    def _agent(self, place: int) -> None:
        told = " ".join(self.words[self.lead or 0 : place + 1])
        if self.lead is None and self.leading and self._names_somebody(place):
            return
        if self.lead is None:
            self.bare.append(self.words[place])
        elif self.spent:
            if self.no and self.words[place - 1] in words.AND:
                self._both(place)  # kontrastsiz ve kontrastli
            return
        elif self.no and self.unsure:
            self._both(place)
        else:
            (self.denials if self.no else self.signs).append(told)
        self.spent = self.lead is not None

    def _names_somebody(self, place: int) -> bool:
        """An agent in front of a number, before any sequence: PDC_014_T1w is of a patient."""
        after = self._after(place)
        return len(after) > 2 and after.isdigit()

    def _other(self, place: int) -> None:
        """A word of which it is not known that it speaks of contrast agent."""
        word = self.words[place]
        if not self._open():
            return
        if word in words.NOT_OF_CONTRAST:
            self.lead = None
        elif self.no:
            self.unsure = self.unsure or word in TAILS or word in words.OTHER
        elif self._lead_word() not in words.POST:
            self.lead = None
        elif not self._leaves_post(word):
            self._both(place)  # after a stroke, after 6 months
            self.lead = None

    def _leaves_post(self, word: str) -> bool:
        """Whether "post" in front of a word is still that of contrast agent."""
        measure = not word.strip("mindlsx0123456789")  # 5min, 3mm, 2d
        return measure or word in TAILS or word in words.OTHER or word in words.AS_IT_IS

    def _stands_alone(self) -> None:
        """ "Post" needs no agent behind it."""
        if self._lead_word() in words.POST:
            self.signs.append(self._lead_word())

    def _end(self) -> None:
        """What a word for with or without says that no agent follows: T1 pre, T1_avec."""
        if self.lead is None or self.spent:
            return
        word, after = self.words[self.lead], self._after(self.lead)
        if not self.no:
            self._stands_alone()
        if word in words.POST or (self.no and after in words.OTHER):
            return
        last = set(self.words[self.lead + 1 :]) <= TAILS and after not in words.OTHER
        if word in words.PRE or (self.no and (self.bare or self.signs)):
            self.denials.append(word)
        elif word in words.ALONE and last and not self.leading:
            (self.denials if self.no else self.signs).append(word)
