"""Datasets of kind ``domains``: a zip with the images of two domains, ``A/`` and ``B/``, paired or unpaired."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, Self

from PIL import Image

from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive, open_archive
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.image_files import read_image
from faceter.datasets.images import split_images
from faceter.datasets.reader import DatasetReader
from faceter.datasets.samples import DatasetContents, ProgressFunction

Domain = Literal["A", "B"]
"""Name of a domain and of its folder."""

DOMAINS: Final[tuple[Domain, Domain]] = ("A", "B")
"""Both domains."""

_FEWEST = 2


class DomainsDataset(DatasetReader):
    """The images of two domains, decoded on demand.

    ``A/`` and ``B/`` hold images, directly or in folders within them. Folders that hold everything
    (``streets/A/1.jpg``, ``streets/B/2.jpg``) are skipped, and files without an image extension are ignored. An image
    of A and one of B are a pair if they have the same name: the path inside the domain's folder, without its
    extension.

    Args:
        archive: Closed together with the dataset.
        settings: Limits.

    Raises:
        FaceterError: ``INVALID_DATASET`` if A or B has fewer than two images, or some lie in neither.
    """

    not_model_inputs = (
        "The dataset holds two domains, which are for translators. Give images or signals; the images of one domain "
        "can be uploaded as kind images."
    )

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        self.archive = archive
        self._max_pixels = settings.max_pixels
        names, others = split_images(archive.names)
        if not names:
            raise invalid_dataset(
                f"The archive holds no images (.jpg, .png, .webp, .gif, .bmp, .tif), only {quoted_names(others)}."
            )
        self._root = _root(names)
        self.names_a: list[str] = self._in_folder("A", names)
        """Names of the images of A in the archive, sorted."""
        self.names_b: list[str] = self._in_folder("B", names)
        """Names of the images of B in the archive, sorted."""
        for domain in DOMAINS:
            if self.count(domain) < _FEWEST:
                raise invalid_dataset(
                    f"The domain {domain} has a single image, {quoted_names(self._names(domain))}. Put {_FEWEST} into "
                    "each domain at least, better hundreds."
                )
        self.names: list[str] = [*self.names_a, *self.names_b]
        """Names of all images: those of A, then those of B."""
        self.warnings = list(archive.warnings)
        if others:
            self.warnings.append(f"ignored, not images: {quoted_names(others)}")

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open a zip file without decoding its images; see `DatasetReader.open`."""
        archive = open_archive(path, settings)
        try:
            return cls(archive, settings)
        except BaseException:
            archive.close()
            raise

    def __len__(self) -> int:
        return len(self.names)

    def count(self, domain: Domain) -> int:
        """Return the number of images of a domain."""
        return len(self._names(domain))

    def image(self, domain: Domain, index: int) -> Image.Image:
        """Return an image, RGB and upright.

        Args:
            domain: ``A`` or ``B``.
            index: Its position in ``names_a`` or ``names_b``.

        Raises:
            FaceterError: ``INVALID_IMAGE``, ``IMAGE_TOO_LARGE`` or ``INVALID_ARCHIVE``, naming the file.
            IndexError: If the domain has no such image.
        """
        return read_image(self.archive, self._names(domain)[index], self._max_pixels)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the positions of images of the same name, in ``names_a`` and in ``names_b``.

        Returns:
            One pair for each name that one image of A and one of B have, in the order of ``names_a``. A name that
            several images of a domain share, such as ``1.jpg`` and ``1.png``, makes no pair.
        """
        in_b = self._positions("B")
        return [
            (of_a[0], of_b[0])
            for stem, of_a in self._positions("A").items()
            if len(of_a) == 1 and len(of_b := in_b.get(stem, [])) == 1
        ]

    def validate_pairs(self) -> None:
        """Check that each image of A has one of B of the same name, and each of B one of A.

        Raises:
            FaceterError: ``INVALID_DATASET`` listing the first few names that have no partner, or more than one.
        """
        for domain in DOMAINS:
            shared = [positions for positions in self._positions(domain).values() if len(positions) > 1]
            if shared:
                duplicates = [self._names(domain)[position] for positions in shared for position in positions]
                raise invalid_dataset(
                    f"Images of {domain} have the same name but for the extension: {quoted_names(duplicates)}. In a "
                    "paired set each image needs a name of its own; rename or remove them."
                )
        stems = {domain: self._positions(domain) for domain in DOMAINS}
        unpaired = {
            "A": [stem for stem in stems["A"] if stem not in stems["B"]],
            "B": [stem for stem in stems["B"] if stem not in stems["A"]],
        }
        if any(unpaired.values()):
            where = " ".join(f"Only in {domain}: {quoted_names(names)}." for domain, names in unpaired.items() if names)
            raise invalid_dataset(
                "In a paired set each image of A needs one of B of the same name (the extension may differ), and each "
                f"of B one of A. {where} Rename or remove them, or upload the set without `paired`."
            )

    def verify(self, progress: ProgressFunction | None = None, *, paired: bool = False) -> DatasetContents:
        """Decode every image once, in order, and return the summary.

        Args:
            progress: Called with the fraction done.
            paired: Whether the images must be pairs; then check also that names and sizes match.

        Raises:
            FaceterError: Naming the first image that cannot be read; what `validate_pairs` raises;
                ``INVALID_DATASET`` naming the first pair whose images differ in size.
        """
        if paired:
            self.validate_pairs()
        every = max(1, len(self) // 100)
        sizes = []
        for index, name in enumerate(self.names):
            sizes.append(read_image(self.archive, name, self._max_pixels).size)
            if progress is not None and (index + 1) % every == 0:
                progress((index + 1) / len(self))
        for a, b in self.pairs() if paired else []:
            (width, height), (width_b, height_b) = sizes[a], sizes[len(self.names_a) + b]
            if (width, height) != (width_b, height_b):
                raise invalid_dataset(
                    f"'{self.names_a[a]}' is {width} × {height} pixels, but '{self.names_b[b]}', the other of its "
                    f"pair, is {width_b} × {height_b} (upright). Save both in one size."
                )
        return self.summary()

    def summary(self) -> DatasetContents:
        """Return the number of images, in all and of each domain; the domains take the place of classes."""
        return DatasetContents(
            samples=len(self),
            classes=list(DOMAINS),
            class_counts={domain: self.count(domain) for domain in DOMAINS},
            warnings=list(self.warnings),
        )

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def _in_folder(self, domain: Domain, names: Sequence[str]) -> list[str]:
        return [name for name in names if name.startswith(f"{self._root}{domain}/")]

    def _names(self, domain: Domain) -> list[str]:
        return self.names_a if domain == "A" else self.names_b

    def _positions(self, domain: Domain) -> dict[str, list[int]]:
        """Return the positions of the images of each name: one, unless images differ only in their extension."""
        positions: defaultdict[str, list[int]] = defaultdict(list)
        for position, name in enumerate(self._names(domain)):
            path = name.removeprefix(f"{self._root}{domain}/")
            positions[path.removesuffix(PurePosixPath(path).suffix)].append(position)
        return dict(positions)


def _root(names: Sequence[str]) -> str:
    """Return the folder that holds ``A/`` and ``B/``, with a slash, or nothing.

    That is the innermost folder which holds all images.

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
        raise invalid_dataset(_missing_domain_detail(root, sorted(set(tops))))
    outside = [name for name, top in zip(names, tops, strict=True) if top not in DOMAINS]
    if outside:
        raise invalid_dataset(
            f"Images that lie neither in A/ nor in B/: {quoted_names(outside)}. Move them there, or remove them."
        )
    return "".join(f"{folder}/" for folder in root)


def _missing_domain_detail(root: Sequence[str], tops: Sequence[str]) -> str:
    """Return which domains have no images, where the images are instead, and what to do.

    Args:
        root: The folders, each within the one before, that hold all images.
        tops: The folders within those that hold images; nothing for images that lie in none.
    """
    held = [domain for domain in DOMAINS if domain in tops] or [folder for folder in root if folder in DOMAINS][:1]
    missing = " and none in ".join(f"{domain}/" for domain in DOMAINS if domain not in held)
    within = "".join(f"{folder}/" for folder in root)
    places = [f"{within}{top}/" if top else within for top in tops]
    where = [f"in {quoted_names([place for place in places if place])}"] if any(places) else []
    if "" in places:
        where.append("in no folder")
    return (
        f"There are no images in {missing}: they lie {' and '.join(where)}. Put the images of one domain into a "
        f"folder A/ and those of the other into a folder B/, at least {_FEWEST} each."
    )
