"""The models' patterns: Java and POSIX words that Python's `re` does not know, translated once.

Only the words that occur in the four models are translated; a test compiles every pattern with warnings as errors.
"""

import re

# In Firehose's tags; equal to Java's classes on every code point.
_LETTERS = r"\p{L}\p{Z}\p{N}_"
_LETTERS_HERE = "\\w\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Says the same, but looks at each character once: 3,000 letters and a line end cost 50 ms otherwise.
_SOMETHING, _SOMETHING_HERE = r".*\S.*", r"[^\S\n]*\S.*"
_WORDS = (
    (r"[[:alnum:]", "[a-zA-Z0-9"),
    (r"\p{ASCII}", r"[\x00-\x7f]"),
    (r"\p{Print}", r"\x20-\x7e"),
    (r"\z", r"\Z"),
    (r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff"),  # surrogate pairs: characters beyond U+FFFF
)


def compile_pattern(text: str) -> re.Pattern[str]:
    r"""Return the compiled pattern, to be used with `fullmatch`.

    >>> bool(compile_pattern(r"\A\S[\p{Print}]*\z").fullmatch("a b"))
    True
    """
    if text == _SOMETHING:
        return re.compile(_SOMETHING_HERE, re.ASCII)
    flags = re.ASCII
    if _LETTERS in text:
        text, flags = text.replace(_LETTERS, _LETTERS_HERE), re.NOFLAG
    for theirs, ours in _WORDS:
        text = text.replace(theirs, ours)
    return re.compile(text, flags)
