# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mutations of a file's text: lines and words are lost, doubled, swapped or replaced by odd ones."""

from hypothesis import strategies as st

LONG = 200_000
ODD_WORDS = [
    *"-1 0 -0 +5 2 3 7 16 17 21 500 10000 999999 1000000 2.5 0.5 1,5 1e400 -1e400 1e-400 5e-324 1e308 1e9".split(),
    *"nan inf -inf NaN 1_000 0x10 1e 1e+ . .5 5. ٣ ４ ² Ⅷ 1e1e1 --1 +-1 e5 1e-3 1e6".split(),
    *"None none Graph Descriptor SOAP Bispectrum true FALSE yes cos tanh polynomial g1 g2 g4 G5 g6 Si si C Xx".split(),
    *"../x.pt /etc/passwd a/b.pt a\\b.pt .. . .pt x.pt2 x.PT model.pt center_and_normalize".split(),
    "\0",
    "a\0b.pt",
    "\x1b[31m",
    "\ufeff",
    "\u2028",
    "\x85",
    "\u202e",
    "\U0001f600",
    "#",
    " # ",
    "",
    "\n",
    "\r",
    "True True",
    "g1 999999 0",
    "g1 999999 1",
    "g2 999999 2",
    "1 1 1 1 1",
    "9" * 400,
    "9" * LONG,
    "9" * LONG + "x",
    "." + "0" * LONG + "1",
    "1." + "0" * LONG + "?",
    "1e" + "9" * LONG,
    "a" * LONG,
    "# " * (LONG // 2),
]
places = st.integers(0, 2**16)


def _at(parts, place):
    return place % len(parts)


def _on_lines(change):
    def function(text, place, other, word):
        lines = text.split("\n")
        change(lines, _at(lines, place), _at(lines, other), word)
        return "\n".join(lines)

    return function


def _on_words(change):
    def change_line(lines, place, other, word):
        parts = lines[place].split(" ")
        change(parts, _at(parts, other), word)
        lines[place] = " ".join(parts)

    return _on_lines(change_line)


def _swap(lines, place, other, _):
    lines[place], lines[other] = lines[other], lines[place]


@_on_lines
def delete_line(lines, place, *_):
    del lines[place]


@_on_lines
def double_line(lines, place, *_):
    lines.insert(place, lines[place])


@_on_lines
def repeat_line(lines, place, other, _):
    lines[place:place] = [lines[place]] * (other % 7 * 100)


@_on_lines
def insert_line(lines, place, _, word):
    lines.insert(place, word)


@_on_words
def replace_word(parts, place, word):
    parts[place] = word


@_on_words
def insert_word(parts, place, word):
    parts.insert(place, word)


@_on_words
def delete_word(parts, place, _):
    del parts[place]


def insert_text(text, place, _, word):
    place = place % (len(text) + 1)
    return text[:place] + word + text[place:]


def cut_off(text, place, *_):
    return text[: place % (len(text) + 1)]


def replace_all(_text, _place, _other, word):
    return word


MUTATIONS = [
    delete_line,
    double_line,
    repeat_line,
    _on_lines(_swap),
    insert_line,
    replace_word,
    replace_word,
    replace_word,
    insert_word,
    delete_word,
    insert_text,
    cut_off,
    replace_all,
]


def _variants(text, mutations):
    """Return the text after each mutation alone, and after each two successive mutations."""
    alone = [mutation(text, *arguments) for mutation, *arguments in mutations]
    return alone + [mutation(alone[k], *arguments) for k, (mutation, *arguments) in enumerate(mutations[1:])]


def mutated(texts, odd_words=tuple(ODD_WORDS)):
    """Return a strategy of lists of texts, each of them a mutation of the same text."""
    words = st.one_of(st.sampled_from(odd_words), st.text(max_size=6))
    mutation = st.tuples(st.sampled_from(MUTATIONS), places, places, words)
    return st.builds(_variants, texts, st.lists(mutation, min_size=3, max_size=6))
