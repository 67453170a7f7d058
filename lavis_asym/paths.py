"""Where the yaml files lie: inside the package when installed from a wheel, beside it in a checkout."""

from pathlib import Path

from lavis_asym.errors import near_matches

PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def config_path(relative: str) -> str:
    """Absolute path of a default configuration, `configs/<relative>`."""
    return str(_folder("configs") / relative)


def find_config(path: str) -> Path:
    """A run's configuration: the path as it is, else among the projects that came with the package.

    Raises:
        FileNotFoundError: naming both places, and files of a similar name.
    """
    given = Path(path).expanduser()
    shipped = _folder("projects").parent / given if given.parts[:1] == ("projects",) else _folder("projects") / given
    for candidate in (given, shipped):
        if candidate.is_file():
            return candidate
    projects = _folder("projects")
    known = {str(Path("projects", file.relative_to(projects))) for file in projects.rglob("*.yaml")}
    known |= {str(file) for file in given.parent.glob("*.yaml")}
    raise FileNotFoundError(
        f"--cfg-path {path}: no such file, neither here nor as {shipped}; {near_matches(path, known)}"
    )
