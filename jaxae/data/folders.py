"""Reads folders of images through Pillow."""

from pathlib import Path

import numpy as np

from jaxae.data.dataset import Raw

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def read(root: Path) -> Raw:
    """Images in `train/<class>/` and `test/<class>/`; in `<class>/`; or flat. Rows are in order of their paths.

    Grey images give one channel; if any image of the folder has colour, all give three (transparency is dropped,
    16 bits become 8). All must have one size.

    Raises:
      ValueError: the root of the file system, no images, classes beside flat images, unreadable images, images of
        different sizes.
    """
    if root.resolve() == Path(root.resolve().anchor):
        # everything of the machine would be listed first
        raise ValueError(f"{root} is the root of the file system: give the folder that holds the images")
    has_train = (root / "train").is_dir()
    if (root / "test").is_dir() and not has_train:
        raise ValueError(f"{root}: a test folder without a train folder; to score it alone, name {root / 'test'}")
    train, y_train = _listed(root / "train" if has_train else root)
    if not (root / "test").is_dir():
        return Raw(root.name, _images(train), y_train, files=_relative(root, train))
    test, y_test = _listed(root / "test")
    x = _images([*train, *test])
    cut = len(train)
    files = _relative(root, train), _relative(root, test)
    return Raw(root.name, x[:cut], y_train, x[cut:], y_test, files=files[0], test_files=files[1])


def _relative(root: Path, files: list[Path]) -> tuple[str, ...]:
    return tuple(file.relative_to(root).as_posix() for file in files)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")


def _listed(folder: Path) -> tuple[list[Path], np.ndarray | None]:
    """The images of a folder in order, and their classes: None where they lie flat."""
    flat = sorted(path for path in folder.iterdir() if _is_image(path))
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    below = [(path, kind.name) for kind in classes for path in sorted(kind.rglob("*")) if _is_image(path)]
    if flat and below:
        raise ValueError(f"{folder}: images both flat ({flat[0].name}) and in class folders ({below[0][1]}/)")
    if flat:
        return flat, None
    if not below:
        raise ValueError(f"{folder}: no images in it; known endings are {' '.join(SUFFIXES)}")
    return [path for path, _ in below], np.array([kind for _, kind in below])


def _images(paths: list[Path]) -> np.ndarray:
    """`[N, H, W, C]` uint8."""
    first = _pixels(paths[0])
    images = [first]
    for path in paths[1:]:
        images.append(_pixels(path))
        if images[-1].shape[:2] != first.shape[:2]:
            sizes = [
                f"{path.name} is {image.shape[1]}x{image.shape[0]}"
                for path, image in ((paths[0], first), (path, images[-1]))
            ]
            raise ValueError(f"{path.parent}: images of different sizes: {', '.join(sizes)}; resize them to one")
    channels = max(image.shape[2] for image in images)
    return np.stack([np.repeat(image, channels // image.shape[2], 2) for image in images])


def _pixels(path: Path) -> np.ndarray:
    """`[H, W, 1 or 3]` uint8."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip at 255
                deep = np.asarray(image, np.int64)
                if deep.min() < 0 or deep.max() > 65535:
                    raise ValueError(f"pixels {deep.min()}..{deep.max()} are not 16-bit")
                return np.round(deep / 257).astype(np.uint8)[..., None]
            grey = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: unreadable image ({(str(error).splitlines() or ['damaged'])[0]})") from None
    return pixels[..., None] if grey else pixels
