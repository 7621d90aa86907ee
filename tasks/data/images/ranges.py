"""Input ranges of networks: (scale, offset) for red, green and blue, which map pixels 0 to 255 to the range.

For `keras.layers.Rescaling`: pixel times scale plus offset.
"""

from typing import Literal

Range = tuple[list[float], list[float]]

#: Mean and standard deviation of ImageNet's red, green and blue, of pixels 0 to 1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

BYTES: Range = ([1.0] * 3, [0.0] * 3)
UNIT: Range = ([1 / 255] * 3, [0.0] * 3)
#: -1 to 1.
SYMMETRIC: Range = ([1 / 127.5] * 3, [-1.0] * 3)
#: (pixel / 255 - mean) / deviation: about -2.1 to 2.6.
IMAGENET: Range = (
    [1 / 255 / d for d in DEVIATION],
    [-m / d for m, d in zip(MEAN, DEVIATION, strict=True)],
)
#: As `IMAGENET`, with the mean and deviation of CLIP (https://github.com/openai/CLIP/blob/main/clip/clip.py).
CLIP: Range = (
    [1 / 255 / d for d in (0.26862954, 0.26130258, 0.27577711)],
    [-m / d for m, d in ((0.48145466, 0.26862954), (0.4578275, 0.26130258), (0.40821073, 0.27577711))],
)
#: What a person who has only a file says of the pixels that its network wants.
Named = Literal["0 to 255", "0 to 1", "-1 to 1", "imagenet"]
NAMED: dict[Named, Range] = {"0 to 255": BYTES, "0 to 1": UNIT, "-1 to 1": SYMMETRIC, "imagenet": IMAGENET}
