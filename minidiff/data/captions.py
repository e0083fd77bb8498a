"""What can be said of an image: the captions that came with it, or sentences with the name of its class.

CLIP and text-to-image learn from pairs of image and text, but most small data sets have only classes. Sentences around the
class name, "prompts", are how CLIP itself is asked for a class (Radford et al. 2021, Section 3.1.4).
"""

from minidiff.data.dataset import Captions, Dataset
from minidiff.data.errors import DataError

TEMPLATES = ("a picture of {}", "a photo of {}", "an image of {}", "{}")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def captions_of(dataset: Dataset) -> Captions:
    """Captions of each image, one or more: its own if the data set has captions, else those of its class (`class_captions`).

    Raises DataError for a class whose name is empty.
    """
    if dataset.captions is not None:
        return dataset.captions
    of_class = [class_captions(name) for name in dataset.class_names]
    return tuple(of_class[label] for label in dataset.labels.tolist())


def class_captions(name: str) -> tuple[str, ...]:
    """The TEMPLATES with the name of a class in them: "a picture of a bag", "a photo of a bag", "an image of a bag", "a bag".

    The name is said in lower case, with "or" for a slash, a blank for an underscore, and "a" or "an" by its first letter: T-shirt/top
    is "a t-shirt or top", Ankle boot "an ankle boot". The class 7 is "the digit seven", as in MNIST, and 12 "the number 12".
    Raises DataError for an empty name.
    """
    return tuple(template.format(_said(name)) for template in TEMPLATES)


def _said(name: str) -> str:
    words = " ".join(name.lower().replace("_", " ").replace("/", " or ").split())
    if not words:
        raise DataError(f"no caption can be made of the class name {name!r}; every class needs a name, or the images captions")
    if words.isdecimal():
        return f"the digit {DIGITS[int(words)]}" if len(words) == 1 else f"the number {words}"
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
