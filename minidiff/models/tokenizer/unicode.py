"""Which characters are letters, numbers and spaces, what their small forms are, and how accents join their letters.

Python's answers change with its version of Unicode (3.10 has Unicode 13, 3.14 has 16), those of tokenizers, the library inside
transformers, are fixed: letters and numbers of Unicode 16, small letters of 17, accents of 9 (tokenizers 0.23, asked about every
character). Tokens must not depend on the Python that makes them, so this file adds to Python's answers what came after Unicode 13, and
takes away the accents that came after 9. Left open: a Python with Unicode 17 or later knows letters and numbers that tokenizers does not.
Read `words.py` next.
"""

import re
import unicodedata

SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"     # White_Space; Python's \s has four control characters more


def _ranges(text: str) -> tuple[range, ...]:
    """Hexadecimal code points and spans of them: "8B5 C5D 889-88E"."""
    spans = (span.partition("-") for span in text.split())
    return tuple(range(int(first, 16), int(last or first, 16) + 1) for first, _, last in spans)


LATER_LETTERS = _ranges(                                                        # Unicode 14 to 16
    "870-887 889-88E 8B5-8C9 C5D CDD 170D 171F 1B4C 1C89-1C8A 2C2F-2C5F 9FFD-9FFF A7C0-A7CD A7D0-A7D1 A7D3 A7D5-A7DC A7F2-A7F4 10570-1057A "
    "1057C-1058A 1058C-10592 10594-10595 10597-105A1 105A3-105B1 105B3-105B9 105BB-105BC 105C0-105F3 10780-10785 10787-107B0 107B2-107BA "
    "10D4A-10D65 10D6F-10D85 10EC2-10EC4 10F70-10F81 11071-11072 11075 1123F-11240 11380-11389 1138B 1138E 11390-113B5 113B7 113D1 113D3 "
    "11740-11746 11AB0-11ABF 11BC0-11BE0 11F02 11F04-11F10 11F12-11F33 12F90-12FF0 1342F 13441-13446 13460-143FA 16100-1611D 16A70-16ABE "
    "16D40-16D6C 18CFF 1AFF0-1AFF3 1AFF5-1AFFB 1AFFD-1AFFE 1B11F-1B122 1B132 1B155 1DF00-1DF1E 1DF25-1DF2A 1E030-1E06D 1E290-1E2AD "
    "1E4D0-1E4EB 1E5D0-1E5ED 1E5F0 1E7E0-1E7E6 1E7E8-1E7EB 1E7ED-1E7EE 1E7F0-1E7FE 2A6DE-2A6DF 2B735-2B739 2EBF0-2EE5D 31350-323AF")
LATER_NUMBERS = _ranges(                                                        # Unicode 14 to 16
    "10D40-10D49 116D0-116E3 11BF0-11BF9 11F50-11F59 16130-16139 16AC0-16AC9 16D70-16D79 1CCF0-1CCF9 1D2C0-1D2D3 1E4F0-1E4F9 1E5F1-1E5FA")
LATER_CAPITALS = (                                                              # Unicode 14 to 17; and how far on the small one is
    ("1C89 A7C0 A7CC A7CE A7D0 A7D2 A7D4 A7D6 A7D8 A7DA", 1), ("2C2F", 0x30), ("A7CB", 0x264 - 0xA7CB), ("A7DC", 0x19B - 0xA7DC),
    ("10570-1057A 1057C-1058A 1058C-10592 10594-10595", 0x27), ("10D50-10D65", 0x20), ("16EA0-16EB8", 0x1B))
LATER_MARKS = (                                                                 # since Unicode 10; nothing older in these spans joins
    "7FD 897-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1AF0 1DF6-1DFA A82C 105C9-105E4 10D24-10F85 11070 1133B 11382-113D0 1145E 11839-11A99 "
    "11D42-1612F 16D63-16FF1 1D127-1D128 1D250-1D281 1E08F-1E6F5")

_SMALL = {code: code + shift for text, shift in LATER_CAPITALS for span in _ranges(text) for code in span}
_MARKS = re.compile("([" + "".join(f"{chr(span[0])}-{chr(span[-1])}" for span in _ranges(LATER_MARKS)) + "])")


def compose(text: str) -> str:
    """NFC, Unicode's normal form C, of Unicode 9: a letter and its accents become one character, if there is one.

    Later marks stay where they are, and nothing joins across them: to Unicode 9 they are characters like others.
    """
    return "".join(part if n % 2 else unicodedata.normalize("NFC", part) for n, part in enumerate(_MARKS.split(text)))


def lower(text: str) -> str:
    """Small letters, each character by itself: a sigma at the end of a word is the same sigma as elsewhere."""
    return text.translate(_SMALL).replace("Σ", "σ").lower()


class _Shapes(dict):
    """Code point -> its shape, found when it is first asked for."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        if code < 128:
            shape = chr(code)
        elif kind[0] == "L" or any(code in span for span in LATER_LETTERS):
            shape = "z"
        elif kind[0] == "N" or any(code in span for span in LATER_NUMBERS):
            shape = "0"
        else:
            shape = "?"
        self[code] = shape
        return shape


_SHAPES = _Shapes()


def shape(text: str) -> str:
    """The text in ASCII, character for character: z for another letter, 0 for another number, ? for anything else.

    So a pattern for all of Unicode can be written with the classes [a-z] and [0-9]: Python's `re` has neither \\p{L} nor \\p{N}.
    """
    return text.translate(_SHAPES)
