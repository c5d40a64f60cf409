"""Creates a file under a URI only if there is none. The store itself decides, so that of several writers at once one succeeds.

pyarrow has no such request. S3 is asked through boto3, with `If-None-Match`, and Google's and Azure's stores through fsspec. Without
these packages, and on other file systems, creation is not exclusive.
"""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

BY_FSSPEC = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "s3a": "s3fs", "memory": "fsspec"}
"""URI schemes whose fsspec file system creates exclusively, and the package that provides it."""
TAKEN = ("PreconditionFailed", "412")
CONFLICT = ("ConditionalRequestConflict", "409")
"""Two clients wrote at once, and S3 has not yet decided; it asks to try again."""
MOST_TRIES = 5


def can_create_exclusively(uri: str, filesystem: Any) -> bool:
    """Whether the store of a URI can create a file only if there is none. `filesystem` is the one that opens the URI."""
    scheme = urlsplit(uri).scheme
    if filesystem.type_name == "s3":
        return find_spec("boto3") is not None
    return scheme in BY_FSSPEC and find_spec(BY_FSSPEC[scheme]) is not None


def create(uri: str, filesystem: Any, path: str, content: bytes) -> bool:
    """Writes the file at `path`, unless there is one; returns whether it was written. `path` is spelled as `filesystem` spells it."""
    if filesystem.type_name == "s3":
        bucket, _, key = path.partition("/")
        return _put(_client(uri), bucket, key, content)
    try:
        _fsspec(uri, filesystem).pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    return True


def _put(client: Any, bucket: str, key: str, content: bytes) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    for tries_left in reversed(range(MOST_TRIES)):
        try:
            client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in TAKEN:
                return False
            if code not in CONFLICT or not tries_left:
                raise OSError(str(error)) from None
        except BotoCoreError as error:
            raise OSError(str(error)) from None
        else:
            return True
    raise AssertionError("the last try returns or raises")


@lru_cache(maxsize=8)
def _client(uri: str) -> Any:
    """Returns boto3's client for the server, region and key of a URI. boto3 looks up what the URI lacks in the same places as pyarrow."""
    import boto3

    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    server = options.get("endpoint_override")
    return boto3.client(
        "s3",
        region_name=options.get("region"),
        endpoint_url=f"{options.get('scheme', 'https')}://{server}" if server else None,
        aws_access_key_id=unquote(parts.username) if parts.username else None,
        aws_secret_access_key=unquote(parts.password) if parts.password else None,
    )


def _fsspec(uri: str, filesystem: Any) -> Any:
    if filesystem.type_name.startswith("py::fsspec"):
        return filesystem.handler.fs
    return open_by_fsspec(uri)[0]


def open_by_fsspec(uri: str) -> tuple[Any, str]:
    """Returns fsspec's file system for a URI, and the folder in it. It caches no listings, so that it sees what others write."""
    import fsspec

    try:
        filesystem_and_folder: tuple[Any, str] = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    except TypeError:  # some file systems, such as SFTP's, do not know the option; they cache no listings anyway
        filesystem_and_folder = fsspec.core.url_to_fs(uri)
    return filesystem_and_folder
