"""Datasets of kind ``domains``: a zip with the images of two domains, paired or unpaired."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from PIL import Image

from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.archive_dataset import ArchiveDataset
from faceter.datasets.domain_folders import DOMAINS, FEWEST, Domain, DomainFinder
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.file_references import stem
from faceter.datasets.image_files import image_size, read_image
from faceter.datasets.images import no_images, split_images
from faceter.datasets.names import folded
from faceter.datasets.samples import DatasetContents, ProgressFunction

_LISTED: Final = 3


class DomainsDataset(ArchiveDataset):
    """The images of two domains, decoded on demand.

    Where they lie, `DomainFinder` says; files without an image extension are ignored. An image of A and one of B are a
    pair if they have the same name: the path inside the domain's folder, without its extension; if upper and lower case
    alone tell names apart, these are a pair as well. Images that each show a pair side by side are its halves.

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
        super().__init__(archive, settings)
        names, others = split_images(archive.names)
        if not names:
            raise no_images(others)
        self._finder = DomainFinder(names)
        self._folders = self._finder.find()
        self.names_a: list[str] = self._folders.names["A"]
        """Names of the images of A in the archive, sorted."""
        self.names_b: list[str] = self._folders.names["B"]
        """Names of the images of B in the archive, sorted; those of A if each image shows a pair."""
        for domain in DOMAINS:
            if self.count(domain) < FEWEST:
                raise invalid_dataset(
                    f"The domain {domain} has a single image, {quoted_names(self._names(domain))}. Put {FEWEST} into "
                    "each domain at least, better hundreds."
                )
        self.names: list[str] = [*self.names_a, *self.names_b]
        """Names of all images: those of A, then those of B."""
        if others:
            self.warnings.append(f"ignored, not images: {quoted_names(others)}")
        self.warnings += self._folders.warnings

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
        image = read_image(self.archive, self._names(domain)[index], self.max_pixels)
        if not self._folders.side_by_side:
            return image
        half = image.width // 2
        return image.crop((0, 0, half, image.height) if domain == "A" else (half, 0, 2 * half, image.height))

    def sizes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the name, and width and height, of each image, from its header."""
        for name in self.names_a if self._folders.side_by_side else self.names:
            width, height = image_size(self.archive, name, self.max_pixels)
            yield name, (width // 2 if self._folders.side_by_side else width, height)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the positions of images of the same name, in ``names_a`` and in ``names_b``.

        Returns:
            One pair for each name that one image of A and one of B have, in the order of ``names_a``. A name that
            several images of a domain share, such as ``1.jpg`` and ``1.png``, makes no pair.
        """
        if self._folders.side_by_side:
            return [(index, index) for index in range(self.count("A"))]
        in_a, in_b = ({name: at[0] for name, at in self._positions(one).items() if len(at) == 1} for one in DOMAINS)
        exact = [(in_a.pop(name), in_b.pop(name)) for name in [*in_a] if name in in_b]
        folded_a, folded_b = _distinct(in_a), _distinct(in_b)
        respelled = [(index, folded_b[name]) for name, index in folded_a.items() if name in folded_b]
        return sorted([*exact, *respelled])

    def validate_pairs(self) -> None:
        """Check that each image of A has one of B of the same name, and each of B one of A.

        Raises:
            FaceterError: ``INVALID_DATASET`` listing the first few names that have no partner, or more than one.
        """
        if self._folders.side_by_side:
            return
        for domain in DOMAINS:
            shared = [positions for positions in self._positions(domain).values() if len(positions) > 1]
            if shared:
                duplicates = [self._names(domain)[position] for positions in shared for position in positions]
                raise invalid_dataset(
                    f"Images of {domain} have the same name but for the extension: {quoted_names(duplicates)}. In a "
                    "paired set each image needs a name of its own; rename or remove them."
                )
        paired = dict(zip(DOMAINS, zip(*self.pairs(), strict=True), strict=True)) if self.pairs() else {}
        unpaired = {
            domain: [name for name, at in self._positions(domain).items() if not set(at) & set(paired.get(domain, ()))]
            for domain in DOMAINS
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
                ``INVALID_DATASET`` naming the first pair whose images differ in size, or if images that can only be
                pairs side by side are not paired.
        """
        side_by_side = self._folders.side_by_side
        if side_by_side and not paired:
            raise invalid_dataset(
                f"{self._finder.missing_detail()} If each image shows a pair side by side, A on the left and B on the "
                "right, upload the set with `paired=true`."
            )
        if paired:
            self.validate_pairs()
        files = self.names_a if side_by_side else self.names
        every = max(1, len(files) // 100)
        sizes = []
        for index, name in enumerate(files):
            sizes.append(read_image(self.archive, name, self.max_pixels).size)
            if side_by_side and sizes[-1][0] % 2:
                raise invalid_dataset(
                    f"'{name}' is {sizes[-1][0]} × {sizes[-1][1]} pixels: as a pair side by side its width must be "
                    "even. Save it so that both halves have one size, or put the images into A/ and B/."
                )
            if progress is not None and (index + 1) % every == 0:
                progress((index + 1) / len(files))
        if side_by_side:
            self.warnings.append("each image read as a pair side by side: its left half is of A, its right half of B")
        elif paired:
            self._validate_sizes(sizes)
            self._warn_of_respelled_pairs()
        return self.summary()

    def summary(self) -> DatasetContents:
        """Return the number of images, in all and of each domain; the domains take the place of classes."""
        return DatasetContents(
            samples=len(self),
            classes=list(DOMAINS),
            class_counts={domain: self.count(domain) for domain in DOMAINS},
            warnings=list(self.warnings),
        )

    def _validate_sizes(self, sizes: list[tuple[int, int]]) -> None:
        for a, b in self.pairs():
            (width, height), (width_b, height_b) = sizes[a], sizes[len(self.names_a) + b]
            if (width, height) != (width_b, height_b):
                raise invalid_dataset(
                    f"'{self.names_a[a]}' is {width} × {height} pixels, but '{self.names_b[b]}', the other of its "
                    f"pair, is {width_b} × {height_b} (upright). Save both in one size."
                )

    def _warn_of_respelled_pairs(self) -> None:
        pairs = [(self.names_a[a], self.names_b[b]) for a, b in self.pairs()]
        respelled = [f"'{a}' with '{b}'" for a, b in pairs if self._name("A", a) != self._name("B", b)]
        if respelled:
            more = f" and {len(respelled) - _LISTED} more" if len(respelled) > _LISTED else ""
            shown = ", ".join(respelled[:_LISTED])
            self.warnings.append(f"paired though upper and lower case differ: {shown}{more}")

    def _names(self, domain: Domain) -> list[str]:
        return self.names_a if domain == "A" else self.names_b

    def _positions(self, domain: Domain) -> dict[str, list[int]]:
        """Return the positions of the images of each name: one, unless images differ only in their extension."""
        positions: defaultdict[str, list[int]] = defaultdict(list)
        for position, name in enumerate(self._names(domain)):
            positions[self._name(domain, name)].append(position)
        return dict(positions)

    def _name(self, domain: Domain, name: str) -> str:
        """Return the name by which an image is paired."""
        return stem(name.removeprefix(self._folders.folders[domain]))


def _distinct(positions: dict[str, int]) -> dict[str, int]:
    """Return positions by folded name, without names that are the same when folded."""
    counts = Counter(folded(name) for name in positions)
    return {folded(name): position for name, position in positions.items() if counts[folded(name)] == 1}
