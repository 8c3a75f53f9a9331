"""Which inputs of a route a file feeds, by its name alone. Pure.

Owns the order of specificity: an input's suffix beats its patterns, those beat its media class, that beats "any"; a
link (`.url`) feeds a model's picture inputs where nothing more specific does.
"""

from renderdrop.model.media import LINK, takes
from renderdrop.model.names import fold, split_ext
from renderdrop.model.route import Input, Route


def fitting(route: Route, path: str) -> tuple[Input, ...]:
    """The inputs that a file of this name feeds, those of the most specific kind alone; more than one = nobody can
    tell which."""
    name = path.rpartition("/")[2]
    taking = [i for i in route.inputs if takes(i.accepts, name) or (is_link(route, name) and i.accepts != "text")]
    by_suffix = [i for i in taking if i.suffix and without_suffix(split_ext(name)[0], i.suffix) is not None]
    if by_suffix:
        longest = max(len(fold(i.suffix)) for i in by_suffix)
        return tuple(i for i in by_suffix if len(fold(i.suffix)) == longest)
    plain = [i for i in taking if not i.suffix]
    if len(plain) < 2:
        return tuple(plain)
    most = max((_specificity(i, name) for i in plain), default=0)
    return tuple(i for i in plain if _specificity(i, name) == most)


def is_link(route: Route, path: str) -> bool:
    """Whether a file of this name stands for a picture that is already public. Only models fetch such by themselves."""
    return route.kind == "model" and fold(split_ext(path.rpartition("/")[2])[1]) == LINK


def own_stem(route: Route, path: str) -> str:
    """The stem of a file's name that it shares with its partners: without the suffix of the input that it feeds."""
    stem = split_ext(path.rpartition("/")[2])[0]
    suffix = next((i.suffix for i in fitting(route, path)), "")
    return (without_suffix(stem, suffix) if suffix else None) or stem


def without_suffix(stem: str, suffix: str) -> str | None:
    """The stem before the suffix; None where it does not end so, or is nothing else."""
    wanted = fold(suffix)
    if not fold(stem).endswith(wanted):
        return None
    # Folding may change how many characters a name has, so the cut is looked for.
    return next((stem[:cut] for cut in range(len(stem) - 1, 0, -1) if fold(stem[cut:]) == wanted), None)


def _specificity(given: Input, name: str) -> int:
    if not takes(given.accepts, name):
        return 1  # as a link
    if isinstance(given.accepts, tuple):
        return 4
    return 2 if given.accepts == "any" else 3
