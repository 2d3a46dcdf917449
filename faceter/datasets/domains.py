"""Datasets of kind ``domains``: a zip with the images of two domains, ``A/`` and ``B/``, in pairs or not."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, Self

from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.image_dataset import ImageDataset
from faceter.datasets.images import split_images
from faceter.datasets.samples import DatasetSummary, ProgressFunction, first_few

Domain = Literal["A", "B"]
"""Name of a domain, which is that of its folder."""

DOMAINS: Final[tuple[Domain, Domain]] = ("A", "B")
"""Both of them."""

_FEWEST = 2


class DomainsDataset:
    """The images of two domains, decoded only when asked for.

    ``A/`` and ``B/`` hold images, directly or in folders within them. Folders that hold everything
    (``streets/A/1.jpg``, ``streets/B/2.jpg``) are passed over, and so are files that are no images by their ending.
    An image of A and one of B are a pair if they have the same name: the path inside the domain's folder, without its
    ending.

    It is no :class:`ImageDataset` itself: an image is told by its domain and its place there, and the two domains
    are no batches of inputs of one model.

    Args:
        images: The archive, opened; closed together with the dataset.

    Raises:
        FaceterError: ``INVALID_DATASET`` if A or B has fewer than two images, or some lie in neither.
    """

    def __init__(self, images: ImageDataset) -> None:
        self._images = images
        self.archive = images.archive
        """The archive they are in."""
        names, others = split_images(images.archive.names)
        if not names:
            raise _invalid(
                f"The archive holds no images (.jpg, .png, .webp, .gif, .bmp, .tif), only {first_few(others)}."
            )
        self._root = _root(names)
        self.names_a: list[str] = self._in_folder("A", names)
        """Names of the images of A in the archive, sorted."""
        self.names_b: list[str] = self._in_folder("B", names)
        """Names of the images of B in the archive, sorted."""
        for domain in DOMAINS:
            if self.count(domain) < _FEWEST:
                raise _invalid(
                    f"The domain {domain} has a single image, {first_few(self._names(domain))}. Put {_FEWEST} into "
                    "each domain at least, better hundreds."
                )
        self.names: list[str] = [*self.names_a, *self.names_b]
        """Names of all images: those of A, then those of B."""
        images.names = self.names
        self.notes: list[str] = list(images.notes)
        """What was passed over."""
        if others:
            self.notes.append(f"passed over, not images: {first_few(others)}")

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open the dataset in a zip file, without decoding its images.

        Raises:
            FaceterError: If the archive is not safe, or has not the form of this kind.
        """
        images = ImageDataset.open(path, settings)
        try:
            return cls(images)
        except BaseException:
            images.close()
            raise

    def __len__(self) -> int:
        return len(self.names)

    def count(self, domain: Domain) -> int:
        """Return how many images a domain has."""
        return len(self._names(domain))

    def image(self, domain: Domain, index: int) -> Image.Image:
        """Return an image, RGB and upright.

        Args:
            domain: Its domain.
            index: Its position in ``names_a`` or ``names_b``.

        Raises:
            FaceterError: ``INVALID_IMAGE``, ``IMAGE_TOO_LARGE`` or ``INVALID_ARCHIVE``, naming the file.
            IndexError: If the domain has no such image.
        """
        place = range(self.count(domain))[index]
        return self._images.image(place if domain == "A" else len(self.names_a) + place)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the positions of images of the same name, in ``names_a`` and in ``names_b``.

        Returns:
            One pair for each name that one image of A and one of B have, in the order of ``names_a``. A name that
            several images of a domain share, such as ``1.jpg`` and ``1.png``, makes no pair.
        """
        places = self._places("B")
        return [
            (of_a[0], of_b[0])
            for stem, of_a in self._places("A").items()
            if len(of_a) == 1 and len(of_b := places.get(stem, [])) == 1
        ]

    def check_paired(self) -> None:
        """See that each image of A has one of B of its name, and each of B one of A.

        Raises:
            FaceterError: ``INVALID_DATASET`` listing the first few names that have no partner, or more than one.
        """
        for domain in DOMAINS:
            shared = [places for places in self._places(domain).values() if len(places) > 1]
            if shared:
                alike = [self._names(domain)[place] for places in shared for place in places]
                raise _invalid(
                    f"Images of {domain} have the same name but for the ending: {first_few(alike)}. In a paired set "
                    "each image needs a name of its own; rename or remove them."
                )
        stems = {domain: self._places(domain) for domain in DOMAINS}
        alone = {
            "A": [stem for stem in stems["A"] if stem not in stems["B"]],
            "B": [stem for stem in stems["B"] if stem not in stems["A"]],
        }
        if any(alone.values()):
            where = " ".join(f"Only in {domain}: {first_few(names)}." for domain, names in alone.items() if names)
            raise _invalid(
                "In a paired set each image of A needs one of B of the same name (the ending may differ), and each "
                f"of B one of A. {where} Rename or remove them, or upload the set without `paired`."
            )

    def verify(self, progress: ProgressFunction | None = None, *, paired: bool = False) -> DatasetSummary:
        """Decode every image once, one after the other, and say what the dataset holds.

        Args:
            progress: Is told the fraction done.
            paired: Whether the images are said to be pairs; then see also that names and sizes match.

        Raises:
            FaceterError: Naming the first image that cannot be read; what ``check_paired`` raises;
                ``INVALID_DATASET`` naming the first pair whose images differ in size.
        """
        if paired:
            self.check_paired()
        every = max(1, len(self) // 100)
        sizes = []
        for index in range(len(self)):
            sizes.append(self._images.image(index).size)
            if progress is not None and (index + 1) % every == 0:
                progress((index + 1) / len(self))
        for a, b in self.pairs() if paired else []:
            (width, height), (width_b, height_b) = sizes[a], sizes[len(self.names_a) + b]
            if (width, height) != (width_b, height_b):
                raise _invalid(
                    f"'{self.names_a[a]}' is {width} × {height} pixels, but '{self.names_b[b]}', the other of its "
                    f"pair, is {width_b} × {height_b} (upright). Save both in one size."
                )
        return self.summary()

    def summary(self) -> DatasetSummary:
        """Say how many images there are, in all and of each domain; the domains stand where classes do."""
        return DatasetSummary(
            samples=len(self),
            classes=list(DOMAINS),
            class_counts={domain: self.count(domain) for domain in DOMAINS},
            notes=list(self.notes),
        )

    def close(self) -> None:
        """Close the archive."""
        self._images.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _in_folder(self, domain: Domain, names: Sequence[str]) -> list[str]:
        return [name for name in names if name.startswith(f"{self._root}{domain}/")]

    def _names(self, domain: Domain) -> list[str]:
        return self.names_a if domain == "A" else self.names_b

    def _places(self, domain: Domain) -> dict[str, list[int]]:
        """Return the positions of the images of each name: one, unless images differ in nothing but the ending."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, name in enumerate(self._names(domain)):
            within = name.removeprefix(f"{self._root}{domain}/")
            places[within.removesuffix(PurePosixPath(within).suffix)].append(place)
        return dict(places)


def _invalid(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_DATASET, detail)


def _root(names: Sequence[str]) -> str:
    """Return the folder that holds ``A/`` and ``B/``, with a slash, or nothing.

    Where both hold images and nothing else does, that is the innermost folder which holds all images.

    Raises:
        FaceterError: ``INVALID_DATASET`` if A or B has no images, or there are images beside them.
    """
    root: list[str] = []
    folders = [name.split("/")[:-1] for name in names]
    while all(folders) and len({path[0] for path in folders}) == 1:
        root.append(folders[0][0])
        folders = [path[1:] for path in folders]
    tops = [path[0] if path else "" for path in folders]
    if not set(DOMAINS) <= set(tops):
        raise _invalid(_what_is_missing(root, sorted(set(tops))))
    outside = [name for name, top in zip(names, tops, strict=True) if top not in DOMAINS]
    if outside:
        raise _invalid(
            f"Images that lie neither in A/ nor in B/: {first_few(outside)}. Move them there, or remove them."
        )
    return "".join(f"{folder}/" for folder in root)


def _what_is_missing(root: Sequence[str], tops: Sequence[str]) -> str:
    """Return which domains have no images, where the images are instead, and what to do.

    Args:
        root: The folders, each within the one before, that hold all images.
        tops: The folders within those that hold images; nothing for images that lie in none.
    """
    held = [domain for domain in DOMAINS if domain in tops] or [folder for folder in root if folder in DOMAINS][:1]
    missing = " and none in ".join(f"{domain}/" for domain in DOMAINS if domain not in held)
    within = "".join(f"{folder}/" for folder in root)
    places = [f"{within}{top}/" if top else within for top in tops]
    where = [f"in {first_few([place for place in places if place])}"] if any(places) else []
    if "" in places:
        where.append("in no folder")
    return (
        f"There are no images in {missing}: they lie {' and '.join(where)}. Put the images of one domain into a "
        f"folder A/ and those of the other into a folder B/, at least {_FEWEST} each."
    )
