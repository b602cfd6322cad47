"""Versions of libraries, for manifests."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Distribution name -> version, of those that are installed."""
    versions = {}
    for library in libraries:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            # An optional library, or a checkout that was not installed itself.
            continue
    return versions
