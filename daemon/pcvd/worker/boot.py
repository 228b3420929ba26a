"""The first file a worker's interpreter runs: makes pcv's packages importable without its site-packages, then
hands over.

The project's interpreter has the project's packages, not pcv. Putting pcv's folder on `sys.path` would bring
pcv's dependencies along, another NumPy perhaps; so only the two packages that workers and models need are
found, each by its own name.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path


class OwnPackages:
    """A finder (`sys.meta_path`) for the packages in `folders`, by name; their submodules are found in the
    ordinary way.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """The spec of one of the packages, or None for everything else."""
        folder = self._folders.get(name)
        if folder is None:
            return None
        return spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])


def main() -> None:
    """`boot.py PCV_FOLDER ROLE SOCKET NAME AHEAD`: become a zygote, or a worker in an interpreter of its own.
    AHEAD: JSON of what to import ahead, and for whom.
    """
    pcv_folder, role, socket_path, name, ahead = sys.argv[1:]
    worker_folder = Path(__file__).resolve().parent
    # Python puts the script's folder first; `inputs` or `compile` in a user's project must not find these
    # files.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != worker_folder]
    sys.meta_path.insert(0, OwnPackages({"pcvd": worker_folder.parent, "pcv": Path(pcv_folder)}))
    from pcvd.worker import zygote

    zygote.main(role, socket_path, name, ahead)


if __name__ == "__main__":
    main()
