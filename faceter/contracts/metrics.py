"""Metrics of generative models."""

from enum import StrEnum
from typing import Self


class Metric(StrEnum):
    """A metric of generated samples."""

    meaning: str
    """What the metric measures, with its source."""

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """Create a member from its name and its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DENSITY = (
        "density",
        "fidelity: mean number of real balls that a generated sample lies in, divided by k; may exceed 1 "
        "(Naeem et al. 2020)",
    )
    COVERAGE = (
        "coverage",
        "diversity: fraction of real samples whose ball contains a generated one (Naeem et al. 2020)",
    )
    PRECISION = (
        "precision",
        "fraction of generated samples in at least one real ball; a real outlier, whose ball is wide, raises it, but "
        "not density (Kynkäänniemi et al. 2019)",
    )
    RECALL = (
        "recall",
        "fraction of real samples in at least one generated ball; generated outliers raise it, but not coverage "
        "(Kynkäänniemi et al. 2019)",
    )
    CLIPPED_DENSITY = (
        "clipped_density",
        "fidelity, calibrated to the fraction of good generated samples (Salvy et al. 2026)",
    )
    CLIPPED_COVERAGE = (
        "clipped_coverage",
        "diversity, calibrated to the fraction of good samples that would cover as much (Salvy et al. 2026)",
    )
    P_PRECISION = (
        "p_precision",
        "precision with soft membership, which decreases with the distance to real samples (Park, Kim 2023)",
    )
    P_RECALL = (
        "p_recall",
        "recall with soft membership, which decreases with the distance to generated samples (Park, Kim 2023)",
    )
    AUTHENTICITY = (
        "authenticity",
        "fraction of generated samples that are farther from their nearest real sample than that is from any other "
        "real one; low values indicate copies: compare it with that of held-out real samples (Alaa et al. 2022)",
    )
    FID = (
        "fid",
        "Fréchet distance between Gaussians with the means and covariances of both sets; 0 is best "
        "(Heusel et al. 2017)",
    )
    KID = (
        "kid",
        "unbiased squared kernel distance, cubic kernel, mean over 100 subsets; 0 is best, may be negative "
        "(Bińkowski et al. 2018)",
    )
    INCEPTION_SCORE = (
        "inception_score",
        "how confident the classifier is of each generated sample and how many classes it predicts in all, from 1 to "
        "the number of classes; needs `classifier_id`, real samples are not used (Salimans et al. 2016)",
    )

    @property
    def smaller_is_better(self) -> bool:
        """Whether 0 is best."""
        return self in (self.FID, self.KID)

    @property
    def by_distances(self) -> bool:
        """Whether it is computed from nearest-neighbour distances, with k or a fixed number of neighbours."""
        return self not in (self.FID, self.KID, self.INCEPTION_SCORE)
