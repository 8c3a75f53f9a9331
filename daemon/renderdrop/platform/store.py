"""An S3-compatible object store (OSS, MinIO, S3): dropped pictures are put there and lent out by presigned URLs.

Owns all that is said to the store. Credentials come from boto3's own chain (environment, ~/.aws, instance role) and
no sentence of ours ever holds them, a signature or a signed URL. Everything here blocks: callers use a thread.
boto3 is an extra and loads slowly, so it is imported where it is first needed.
"""

import importlib.util
import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from renderdrop.model.errors import Fault, StoreDown
from renderdrop.model.names import shown

Addressing = Literal["auto", "virtual", "path"]

CONNECT: Final = 10
SILENCE: Final = 60
"""Seconds: to connect; of silence while reading or writing."""
TRIES: Final = 3
LONGEST: Final = 7 * 86400
"""Seconds that a presigned URL can live at most (AWS Signature Version 4)."""

_CODE: Final = re.compile(r"[A-Za-z0-9._-]{1,60}")
_REFUSALS: Final = {
    "InvalidAccessKeyId": "it does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "InvalidToken": "the session token is not valid",
    "ExpiredToken": "the session token has expired",
    "AccessDenied": "the credentials may not do this here",
    "NoSuchBucket": "there is no such bucket",
    "PermanentRedirect": "the bucket is in another region; set publish.region or the bucket's own endpoint",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set publish.region",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
"""S3's error codes, in words."""


class Readable(Protocol):
    """An open binary file. The store reads it more than once: to sign it, and again after a broken connection."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


def installed() -> bool:
    """Whether boto3 is there. Does not import it."""
    return importlib.util.find_spec("boto3") is not None


class Store:
    """One bucket. All methods may be called from several threads, and raise StoreDown."""

    def __init__(self, bucket: str, endpoint: str, region: str | None, addressing: Addressing) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        self._region = region
        self._addressing = addressing
        self._made: Any = None
        self._making = threading.Lock()

    def put(self, key: str, body: Readable, size: int, media_type: str) -> None:
        """Store `size` bytes of `body` under `key`. A Fault that `body` raises comes through unchanged."""
        with self._client() as client:
            client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentLength=size, ContentType=media_type)

    def url(self, key: str, expires_seconds: float) -> str:
        """A URL by which anybody can fetch the object for so long (LONGEST at most). Nothing is asked of the store.
        Credentials that expire sooner themselves, such as an instance role's, take the URL with them."""
        lifetime = min(LONGEST, max(1, math.ceil(expires_seconds)))
        with self._client() as client:
            what = {"Bucket": self._bucket, "Key": key}
            return str(client.generate_presigned_url("get_object", Params=what, ExpiresIn=lifetime))

    def remove(self, key: str) -> None:
        """Remove the object; one that is not there is fine."""
        with self._client(missing_is_fine=True) as client:
            client.delete_object(Bucket=self._bucket, Key=key)

    @contextmanager
    def _client(self, missing_is_fine: bool = False) -> Iterator[Any]:
        """The one client; what it raises comes out as StoreDown. botocore's own texts are not repeated: some hold the
        access key."""
        try:
            import boto3
            from botocore import exceptions as their
        except ImportError:
            raise StoreDown(
                f'{self._name} cannot be used: boto3 is not installed; pip install "renderdrop[publish]"'
            ) from None
        try:
            yield self._made_once(boto3.session.Session)
        except (their.NoCredentialsError, their.PartialCredentialsError):
            cause = "there are no credentials for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws"
        except (their.CredentialRetrievalError, their.TokenRetrievalError, their.UnauthorizedSSOTokenError):
            cause = "the credentials for it could not be fetched"
        except their.ClientError as error:
            if missing_is_fine and error.response.get("Error", {}).get("Code") == "NoSuchKey":
                return  # some stores say so where S3 removes in silence what is not there
            cause = _answered(error.response)
        except (their.HTTPClientError, their.ConnectionError) as error:
            if isinstance(ours := error.kwargs.get("error"), Fault):
                raise ours from None  # the file's own trouble, wrapped on its way out
            cause = f"{self._host} cannot be reached ({type(error).__name__})"
        except their.BotoCoreError as error:  # a name that no bucket can have, a profile that is not there …
            cause = f"the settings for it are not sound ({type(error).__name__})"
        else:
            return
        self._made = None  # whoever mends credentials or configuration is believed without a restart
        raise StoreDown(f"{self._name} cannot be used: {cause}")

    def _made_once(self, new_session: Callable[[], Any]) -> Any:
        from botocore.config import Config

        with self._making:
            if self._made is None:
                session = new_session()  # the default session is not for several threads
                try:
                    self._made = session.client(
                        "s3",
                        endpoint_url=self._endpoint,
                        region_name=self._region or session.region_name or "us-east-1",
                        config=Config(
                            signature_version="s3v4",
                            connect_timeout=CONNECT,
                            read_timeout=SILENCE,
                            retries={"mode": "standard", "total_max_attempts": TRIES},
                            s3={"addressing_style": self._addressing},
                            # boto3's newer default adds checksums that OSS and older MinIO do not understand.
                            request_checksum_calculation="when_required",
                            response_checksum_validation="when_required",
                        ),
                    )
                except ValueError:
                    raise StoreDown(f"{self._name} cannot be used: the endpoint under publish is no address") from None
            return self._made

    @property
    def _name(self) -> str:
        return f'the object store (bucket "{shown(self._bucket)}")'

    @property
    def _host(self) -> str:
        try:
            return shown(urlsplit(self._endpoint).netloc.rpartition("@")[2])[:100]
        except ValueError:
            return "its endpoint"


def _answered(response: dict[str, Any]) -> str:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
    known = _REFUSALS.get(code)
    plain = code if _CODE.fullmatch(code) else "no code"
    return f"{known} ({code})" if known else f"it answered {plain} (HTTP {status})"
