"""A real S3 server, beside a test."""

import uuid


class Store:
    """A real S3 server, and one bucket of it; `key_id` and `secret` open it."""

    key_id, secret = "AKIDSYSTEM1", "s3cr3t/of+the+system+tests"

    def __init__(self) -> None:
        # Slow to import, and only few tests need it.
        import boto3
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.bucket = f"bucket-{uuid.uuid4().hex}"  # every server of a process shows the same ones
        self._client = boto3.session.Session().client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
        )  # fmt: skip
        self._client.create_bucket(Bucket=self.bucket)

    def objects(self) -> list[str]:
        """The names of the objects that are there now."""
        return [row["Key"] for row in self._client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def publish(self, key: str, data: bytes) -> str:
        """Make an object that anybody may read; returns its address, which needs no signature."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType="image/png", ACL="public-read")
        return f"{self.endpoint}/{self.bucket}/{key}"

    def stop(self) -> None:
        """End it."""
        self._client.close()
        self._server.stop()
