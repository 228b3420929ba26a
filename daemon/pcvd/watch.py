"""Watching the project: folders whose saves count, and the model files in them that may declare targets.

An event is only a hint that a path is worth a look; whether its contents changed is for `files` to say.
"""

from __future__ import annotations

import fnmatch
import os
from typing import TYPE_CHECKING

import watchfiles

from pcvd.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

_UNWATCHED = frozenset(
    {".git", ".hg", ".svn", ".pcv", "__pycache__", "node_modules", "site-packages", "dist-packages", ".tox",
     ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints", ".idea",
     ".vscode"}
)  # fmt: skip
_LONGEST_SETTLE_MS = 400
"""A burst of saves (a branch switch) is reported at the latest after this long, however busy it stays."""


class Watch:
    """The folders of one project that are watched."""

    def __init__(
        self,
        root: str,
        folders: Sequence[str],
        ignore: Sequence[str],
        settle_ms: int,
        may_declare: Callable[[str], bool],
        cookies: str = "",
    ) -> None:
        """`folders` and `ignore` (folders or glob patterns) are relative to `root`. `may_declare` says of a
        Python file whether it is worth asking for targets. Of the folder `cookies` everything is told.
        """
        self._root, self._may_declare = root, may_declare
        self._cookies = os.path.join(cookies, "") if cookies else "\0"
        self._folders = sorted({os.path.normpath(os.path.join(root, folder)) for folder in folders})
        self._ignore = [pattern.rstrip("/") for pattern in ignore]
        self._settle_ms = settle_ms

    async def changes(self) -> AsyncIterator[set[str]]:
        """Sets of absolute paths that something happened to, as they settle. Ends when the task is cancelled.

        Raises SetupError where the system refuses to watch (too many folders for its limit).
        """
        # The project's own file counts wherever the watched folders are.
        folders = sorted({*self._folders, self._root} if self._root not in self._folders else self._folders)
        only_settings = self._root not in self._folders
        absent = [folder for folder in folders if not os.path.isdir(folder)]  # noqa: ASYNC240  # a stat each
        if absent:  # the watcher itself would wait for ever, and say nothing
            raise SetupError(f"cannot watch {', '.join(absent)}: no such folder", hint="`watch` in pcv.toml")
        try:
            async for events in watchfiles.awatch(
                *folders,
                watch_filter=lambda _change, path: self.counts(path) or path.startswith(self._cookies),
                debounce=_LONGEST_SETTLE_MS,
                step=max(1, self._settle_ms),
                recursive=True,
                ignore_permission_denied=True,
            ):
                paths = {path for _change, path in events}
                if only_settings:
                    paths = {
                        path
                        for path in paths
                        if self._inside(path)
                        or os.path.dirname(path) == self._root
                        or path.startswith(self._cookies)
                    }
                if paths:
                    yield paths
        # watchfiles' own errors are RuntimeErrors; they come out of a task group of its own.
        except (OSError, RuntimeError, ExceptionGroup) as error:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            limits = "raise fs.inotify.max_user_watches, or set `watch` and `ignore` in pcv.toml"
            undecodable = "something there has a name that is not UTF-8: give it another one"
            raise SetupError(
                f"cannot watch {', '.join(folders)}: {cause}",
                hint=undecodable if "decode" in str(cause) else limits,
            ) from error

    def counts(self, path: str) -> bool:
        """Whether a change at `path` is worth a look."""
        inner = self._named(path)
        if path.endswith((".pyc", "~", ".swp")) or not _UNWATCHED.isdisjoint(inner.split(os.sep)):
            return False
        if inner.startswith(".venv") or f"{os.sep}.venv" in inner:
            return False
        return not self._ignore or not any(
            fnmatch.fnmatch(inner, pattern) or inner.startswith(pattern + os.sep) for pattern in self._ignore
        )

    def covers(self, path: str) -> bool:
        """Whether a change of the file `path` would be reported."""
        return self._inside(path) and self.counts(path)

    def declaring(self) -> list[str]:
        """The model files (relative to the root) that may declare targets, sorted."""
        found = set()
        for folder in self._folders:
            for path in self._python_files(folder):
                if self._may_declare(path):
                    found.add(self._named(path))
        return sorted(found)

    def declaring_among(self, paths: Iterable[str]) -> frozenset[str]:
        """The model files that may declare targets, relative to the root, among `paths` and below those of
        them that are folders: of one that was moved here, the system tells nothing but its own name.
        """
        found: set[str] = set()
        for path in paths:
            if not self._inside(path):
                continue
            if path.endswith(".py") and os.path.isfile(path):
                found.add(path)
            elif os.path.isdir(path) and not os.path.islink(path) and self.counts(path):
                found.update(self._python_files(path))
        return frozenset(self._named(path) for path in found if self._may_declare(path))

    def _named(self, path: str) -> str:
        """`path` relative to the root, ten times as quickly as `os.path.relpath`."""
        within = path.startswith(f"{self._root}{os.sep}")
        return path[len(self._root) + 1 :] if within else os.path.relpath(path, self._root)

    def _inside(self, path: str) -> bool:
        return any(path.startswith(folder + os.sep) for folder in self._folders)

    def _python_files(self, folder: str) -> Iterator[str]:
        for parent, folders, files in os.walk(folder):
            folders[:] = [
                name
                for name in folders
                if self.counts(os.path.join(parent, name)) and not _is_venv(parent, name)
            ]
            for name in files:
                path = os.path.join(parent, name)
                if name.endswith(".py") and self.counts(path):
                    yield path


def _is_venv(parent: str, name: str) -> bool:
    return os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))
