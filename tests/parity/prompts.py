"""The prompts of the parity run: 24, of 0 to far more than 75 tokens, in several scripts.

The lengths in the comments are those of CLIP's own vocabulary; the shipped model's small one needs more tokens for
all but the plainest text, so its rows are cut more often. ASCII only: other letters are written as escapes.
"""

PROMPTS = (
    "",                                                                                       # 0
    "a",                                                                                      # 1
    "cat dog",                                                                                # 2
    "a photo of a cat",                                                                       # 5
    "A Photo Of AN ASTRONAUT riding a horse on mars!!!",                                     # capitals; "!" pads bigG
    "it's 2023, we'll say they've seen what's there; don't you'd think I'm right?",           # contractions, digits
    "masterpiece, best quality, (highly detailed:1.3), [oil painting], cinematic lighting, 8k, sharp focus",
    "portrait of an old wizard, dramatic light\n\n\tfantasy art,   by an artist",             # white space
    "https://example.com/a_b?c=1&d=2 #tag @user <lora:style:0.8> \\(escaped\\) 100% ~ ^ | {x}",
    "na\u00efve caf\u00e9, cr\u00e8me br\u00fbl\u00e9e \u00e0 la fran\u00e7aise",               # French
    "Gr\u00fc\u00dfe aus dem Schwarzwald: \u00dcbergr\u00f6\u00dfe, Stra\u00dfe, M\u00fcnchen",  # German
    "un retrato de una ni\u00f1a, \u00bfpor qu\u00e9?, al \u00f3leo",                            # Spanish
    "\u0444\u043e\u0442\u043e \u0440\u044b\u0436\u0435\u0433\u043e \u043a\u043e\u0442\u0430 \u043d\u0430 "
    "\u0441\u0442\u043e\u043b\u0435",                                                         # Russian
    "\u03c6\u03c9\u03c4\u03bf\u03b3\u03c1\u03b1\u03c6\u03af\u03b1 \u039f\u0394\u039f\u03a3",  # Greek, capital sigma
    "\u9b54\u6cd5\u4f7f\u3044\u306e\u732b\u3001\u6c34\u5f69\u753b",                           # Japanese
    "\u4e00\u53ea\u5728\u6708\u4eae\u4e0a\u7684\u732b\uff0c\u6cb9\u753b",                     # Chinese
    "\ubc14\ub2e4 \uc704\uc758 \uc131, \uc11d\uc591",                                         # Korean
    "\u0635\u0648\u0631\u0629 \u0642\u0637\u0629 \u05d7\u05ea\u05d5\u05dc",                   # Arabic, Hebrew
    "\u092c\u093f\u0932\u094d\u0932\u0940 \u0e41\u0e21\u0e27",                                # Hindi, Thai
    "cat \U0001f63a on the moon \U0001f319\u2728 family \U0001f468\u200d\U0001f469\u200d\U0001f467 "
    "\U0001f1eb\U0001f1f7",                                                                   # emoji
    " ".join(["cat"] * 74),                                                                   # one short of full
    " ".join(["dog"] * 75),                                                                   # full
    " ".join(["the red cat and a blue dog"] * 11),                                            # 77: cut by two
    ", ".join(["a beautiful cinematic painting of a golden dragon above the dark forest"] * 12),  # cut by far
)


def names():
    """A short label for each prompt."""
    labels = []
    for index, prompt in enumerate(PROMPTS):
        plain = "".join(letter if " " <= letter < "\x7f" and letter != "|" else "." for letter in prompt)
        labels.append(f"{index} {plain[:18]!r}")
    return labels
