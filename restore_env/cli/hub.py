"""Policy and toolbox folders as repositories of the Hugging Face Hub.

This needs huggingface_hub, which the extra `hub` installs. What comes from a repository is read, but never run.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from restore_env.errors import FormatError
from restore_env.policies import load_policy, storage as policies
from restore_env.toolbox import load_toolbox, storage as toolboxes
from restore_env.utils.checks import check_text, one_line
from restore_env.utils.files import check_outputs
from restore_env.utils.serialization import CARD, RECORD

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES_OF: Final[Mapping[str, Callable[[Path], list[str]]]] = {
    toolboxes.DESCRIPTION: toolboxes.toolbox_files,
    policies.DESCRIPTION: policies.policy_files,
}
"""For each description, the function that returns the files of its folder."""

_NEITHER: Final = f"holds neither {toolboxes.DESCRIPTION} nor {policies.DESCRIPTION}"

_REPO: Final = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def pull(repo: str, folder: str | os.PathLike[str], revision: str | None = None) -> str:
    """Fetch a toolbox or policy folder from the Hugging Face Hub.

    The folder appears only once all of it is there and loads, with weights of the SHA-256 that its description holds.

    Args:
        repo: the owner and the name of the repository, such as "someone/my-agent".
        folder: the folder to make.
        revision: a branch, a tag or a commit; None is the newest commit of the main branch.

    Returns:
        The commit that was fetched.

    Raises:
        ValueError: if `repo` or `revision` cannot be a name, or huggingface_hub is not installed.
        FormatError: if the repository holds no toolbox and no policy, or a damaged one.
        OSError: if the folder exists or cannot be made, or the Hub does not answer as it should.

    Example:
        >>> with TemporaryDirectory() as folder:
        ...     pull("someone/my-agent", folder)
        Traceback (most recent call last):
        FileExistsError: /...: exists already; choose another folder
    """
    target = Path(folder)
    _check_repo(repo)
    if revision is not None and not check_text("revision", revision).strip():
        raise ValueError("revision is empty; a branch, a tag or a commit is needed")
    if os.path.lexists(target):
        raise FileExistsError(f"{target}: exists already; choose another folder")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {str(target.parent)!r} does not exist")
    check_outputs({}, folders={"folder": target})
    with TemporaryDirectory(prefix=".pull.", dir=target.absolute().parent) as work:
        made = Path(work, target.name)
        made.mkdir()
        try:
            commit = _fetch(repo, revision, made, Path(work, "fetched"))
            check_folder(made)
        except FormatError as error:
            raise FormatError(str(error).replace(str(made), repo)) from error
        made.rename(target)
    return commit


def push(folder: str | os.PathLike[str], repo: str) -> str:
    """Send a toolbox or policy folder to the Hugging Face Hub, as one commit to the main branch of a repository.

    Args:
        folder: the folder, with a model card that names the licence of the weights.
        repo: the owner and the name of the repository, such as "someone/my-agent". It is made if it does not exist,
            and everyone can see it then.

    Returns:
        The commit.

    Raises:
        ValueError: if `repo` cannot be a name, or huggingface_hub is not installed.
        FormatError: if the folder holds no toolbox and no policy, a damaged one, or no model card with a licence.
        OSError: if the Hub does not answer as it should.

    Example:
        >>> with TemporaryDirectory() as folder:
        ...     push(folder, "someone/my-agent")
        Traceback (most recent call last):
        restore_env.errors.FormatError: /...: holds neither toolbox.json nor policy.json
    """
    source = Path(folder)
    _check_repo(repo)
    check_folder(source)
    api = _api()
    _check_card(source / CARD)
    names = [name for name in folder_files(source) if (source / name).is_file()]
    with _one_line(repo, api):
        from huggingface_hub import CommitOperationAdd

        api.create_repo(repo, exist_ok=True)
        files = [CommitOperationAdd(name, source / name) for name in names]
        return str(api.create_commit(repo, files, commit_message=f"Upload {source.absolute().name}").oid)


def check_folder(folder: Path) -> None:
    """Load the toolbox and the policy in a folder.

    Raises:
        FormatError: if there is neither, or one is damaged.
        ValueError: if there are both, and the policy has other actions than the toolbox.
    """
    has_toolbox, has_policy = ((folder / name).is_file() for name in (toolboxes.DESCRIPTION, policies.DESCRIPTION))
    if not (has_toolbox or has_policy):
        raise FormatError(f"{folder}: {_NEITHER}")
    toolbox = load_toolbox(folder) if has_toolbox else None
    if has_policy:
        load_policy(folder, toolbox)


def folder_files(folder: Path) -> list[str]:
    """Return the names of the files that belong to a toolbox or policy folder. No others are sent or fetched.

    Raises:
        FormatError: if a description is damaged.
    """
    described = [files(folder) for name, files in FILES_OF.items() if (folder / name).is_file()]
    return list(dict.fromkeys([CARD, RECORD, *(name for names in described for name in names)]))


def _check_repo(repo: str) -> None:
    """Raise a `ValueError` if a text cannot be the name of a repository."""
    if not _REPO.fullmatch(repo):
        raise ValueError(f"repo={repo!r} is not an owner and a name, such as 'someone/my-agent'")


def _check_card(card: Path) -> None:
    """Raise a `FormatError` if the Hub would find no licence in a model card."""
    from huggingface_hub import ModelCard

    try:
        text = card.read_text(encoding="utf-8")
        licence = getattr(ModelCard(text).data, "license", None) if text.startswith("---") else None
    except Exception as error:  # yaml raises its own, and others come from the content
        raise FormatError(f"{card}: no model card for the Hub ({one_line(error)})") from error
    if not licence:
        raise FormatError(f"{card}: names no licence; begin it with the lines '---', 'license: mit' or another, '---'")


def _fetch(repo: str, revision: str | None, folder: Path, work: Path) -> str:
    """Fetch the files of a repository that toolbox and policy folders have; return its commit."""
    api = _api()
    with _one_line(repo, api, revision):
        found = api.model_info(repo, revision=revision)
        there = {file.rfilename for file in found.siblings or ()}
    if not there & FILES_OF.keys():
        raise FormatError(f"{repo}: {_NEITHER}")

    def fetch(names: Iterable[str]) -> None:
        with _one_line(repo, api):
            for name in names:
                if name in there and not (folder / name).exists():
                    os.replace(api.hf_hub_download(repo, name, revision=found.sha, local_dir=work), folder / name)

    fetch(FILES_OF)  # they name the other files
    fetch(folder_files(folder))
    return str(found.sha)


def _api() -> "HfApi":
    """Return the client of the Hub, or raise a `ValueError` that says how to install it."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ValueError("huggingface_hub is not installed; restore-env[hub] installs it") from error
    return HfApi(library_name="restore-env")


@contextmanager
def _one_line(repo: str, api: "HfApi", revision: str | None = None) -> Iterator[None]:
    """Turn what the client raises in the block into an `OSError` of one line that names the repository."""
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except HFValidationError:  # a `ValueError` that names the repository
        raise
    except RevisionNotFoundError as error:
        raise OSError(f"{repo}: has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise OSError(f"{repo}: not at {api.endpoint}, or only for those who log in (`hf auth login`)") from error
    except Exception as error:  # also of the libraries below it, which differ between versions
        reason = (isinstance(error, RuntimeError) and error.__cause__) or error  # it says only which file was sent
        raise OSError(f"{repo}: {api.endpoint}: {one_line(reason)}") from error
