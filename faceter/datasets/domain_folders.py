"""Where the images of two domains lie in an archive."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from faceter.datasets.class_folders import SPLITS
from faceter.datasets.errors import invalid_dataset, quoted_names

Domain = Literal["A", "B"]
"""Name of a domain and of its folder."""

DOMAINS: Final[tuple[Domain, Domain]] = ("A", "B")
"""Both domains."""

FEWEST: Final = 2
"""Fewest images of a domain."""

_PARTS: Final = ("train", "val", "test")
"""Parts of a set in CycleGAN's folders, in the order in which they are looked for."""


@dataclass(frozen=True)
class DomainFolders:
    """The images of two domains."""

    names: dict[Domain, list[str]]
    """Names of the images of each in the archive, sorted."""
    folders: dict[Domain, str]
    """The folder of each, with a slash."""
    side_by_side: bool = False
    """Whether each image shows a pair, of which the left half is of A and the right half of B."""
    warnings: list[str] = field(default_factory=list)
    """What was passed over."""


class DomainFinder:
    """Finds the images of two domains.

    They lie in ``A/`` and ``B/``; or in ``trainA/`` and ``trainB/``, as CycleGAN has them; or each image is a pair side
    by side, as pix2pix has them, all in one folder or in ``train/`` and the like. Folders around everything are
    skipped. Of several parts of a set the one to train on is taken.

    Args:
        names: Names of all images of the archive, sorted.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._root: list[str] = []
        folders = [name.split("/")[:-1] for name in names]
        while all(folders) and len({path[0] for path in folders}) == 1:
            self._root.append(folders[0][0])
            folders = [path[1:] for path in folders]
        self._folders = folders
        self._tops = [path[0] if path else "" for path in folders]
        self._around = "".join(f"{folder}/" for folder in self._root)

    def find(self) -> DomainFolders:
        """Return the images of both domains.

        Raises:
            FaceterError: ``INVALID_DATASET`` if a domain has no images, or there are images beside them.
        """
        tops = set(self._tops)
        if set(DOMAINS) <= tops:
            return self._in_folders({"A": "A", "B": "B"}, others=())
        parts = [part for part in _PARTS if {f"{part}A", f"{part}B"} <= tops]
        if parts:
            others = [f"{part}{domain}" for part in _PARTS for domain in DOMAINS if part != parts[0]]
            return self._in_folders({"A": f"{parts[0]}A", "B": f"{parts[0]}B"}, others)
        found = self._side_by_side()
        if found is None:
            raise invalid_dataset(self.missing_detail())
        return found

    def missing_detail(self) -> str:
        """Return which domains have no images, where the images are instead, and what to do."""
        tops = sorted(set(self._tops))
        held = [domain for domain in DOMAINS if domain in tops]
        held = held or [domain for domain in DOMAINS if domain in self._root][:1]
        missing = " and none in ".join(f"{domain}/" for domain in DOMAINS if domain not in held)
        places = [f"{self._around}{top}/" if top else self._around for top in tops]
        where = [f"in {quoted_names([place for place in places if place])}"] if any(places) else []
        if "" in places:
            where.append("in no folder")
        return (
            f"There are no images in {missing}: they lie {' and '.join(where)}. Put the images of one domain into a "
            f"folder A/ and those of the other into a folder B/, at least {FEWEST} each."
        )

    def _in_folders(self, folders: dict[Domain, str], others: Sequence[str]) -> DomainFolders:
        """Return the images in a folder for each domain.

        Args:
            folders: The folder of each.
            others: Folders that are passed over.
        """
        a, b = (folders[domain] for domain in DOMAINS)
        outside = [name for name, top in zip(self._names, self._tops, strict=True) if top not in (a, b, *others)]
        if outside:
            raise invalid_dataset(
                f"Images that lie neither in {a}/ nor in {b}/: {quoted_names(outside)}. Move them there, or remove "
                "them."
            )
        counts = {other: self._tops.count(other) for other in others}
        passed = [f"{self._around}{other}/ ({count})" for other, count in counts.items() if count]
        warning = f"ignored, kept for tests: {', '.join(passed)}. Upload them as a set of their own to evaluate on"
        return DomainFolders(
            names={domain: self._under(folders[domain]) for domain in DOMAINS},
            folders={domain: f"{self._around}{folders[domain]}/" for domain in DOMAINS},
            warnings=[warning] if passed else [],
        )

    def _side_by_side(self) -> DomainFolders | None:
        """Return images that may each be a pair; None if they lie in folders of other names."""
        reserved = {*DOMAINS, *(f"{part}{domain}" for part in _PARTS for domain in DOMAINS)}
        tops = set(self._tops)
        if reserved & {*self._root, *tops} or any(len(path) > 1 for path in self._folders):
            return None
        if tops == {""}:
            return self._pairs(self._names, self._around)
        by_part = {top.lower(): top for top in sorted(tops)}
        if not set(by_part) <= SPLITS:
            return None
        part = next((by_part[name] for name in ("train", "training", *_PARTS) if name in by_part), min(tops))
        others = [f"{self._around}{top}/ ({self._tops.count(top)})" for top in sorted(tops) if top != part]
        warning = f"ignored, kept for tests: {', '.join(others)}. Upload them as a set of their own to evaluate on"
        return self._pairs(self._under(part), f"{self._around}{part}/", warning)

    def _pairs(self, names: list[str], folder: str, *warnings: str) -> DomainFolders:
        return DomainFolders({"A": names, "B": names}, {"A": folder, "B": folder}, True, list(warnings))

    def _under(self, top: str) -> list[str]:
        return [name for name, other in zip(self._names, self._tops, strict=True) if other == top]
