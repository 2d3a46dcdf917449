import pytest

from app.http.negotiation import negotiated_format, prefers
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.encoded_image import ImageFormat


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", ImageFormat.PNG),
        ("*/*", ImageFormat.PNG),
        ("image/*", ImageFormat.PNG),
        ("image/jpeg", ImageFormat.JPEG),
        ("IMAGE/WEBP;q=0.3", ImageFormat.WEBP),
        ("image/avif,image/webp,image/apng,*/*;q=0.8", ImageFormat.WEBP),
        ("image/jpeg, image/*", ImageFormat.JPEG),
        ("image/webp, image/png", ImageFormat.PNG),
        ("image/webp;q=0.2, image/*;q=0.8", ImageFormat.PNG),
        ("image/png;q=0, */*;q=0.1", ImageFormat.JPEG),
        ("image/png;q=0, image/jpeg;q=0, image/*", ImageFormat.WEBP),
        ("text/html, image/jpeg;q=0.1", ImageFormat.JPEG),
    ],
)
def test_the_preferred_format_is_chosen(accept: str, expected: ImageFormat) -> None:
    assert negotiated_format(accept) is expected


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "*/*;q=0", "image/png;q=nan", "image/png;q=much"])
def test_none_of_the_formats_is_not_acceptable(accept: str) -> None:
    with pytest.raises(FaceterError, match="image/png, image/jpeg, image/webp") as caught:
        negotiated_format(accept)
    assert caught.value.kind is ProblemKind.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("accept", "image"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("image/png", True),
        ("IMAGE/PNG; q=0.9", True),
        ("image/avif,image/webp,image/*,*/*;q=0.8", True),
        ("text/html,image/webp,*/*;q=0.8", False),
        ("image/png;q=0, */*;q=0.1", False),
        ("image/png;q=0.2, application/json;q=0.5", False),
        ("image/png;q=much, */*;q=0.1", False),
        ("text/html", False),
    ],
)
def test_images_only_if_accepted(accept: str, image: bool) -> None:
    assert prefers(accept, "image/png", "application/json") is image
