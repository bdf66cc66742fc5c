"""Requests that aren't answered with a prediction: why, for REST and for gRPC."""

from enum import Enum


class Code(Enum):
    """Why a request is rejected: the name of gRPC's status, and the status of REST.

    None above 499 but 503, which tells clients to try again, and monitoring that the
    server is short of something rather than broken.
    """

    INVALID_ARGUMENT = ("INVALID_ARGUMENT", 400)
    UNAUTHENTICATED = ("UNAUTHENTICATED", 401)
    NOT_FOUND = ("NOT_FOUND", 404)
    WRONG_METHOD = ("UNIMPLEMENTED", 405)
    TOO_SLOW_TO_SEND = ("CANCELLED", 408)
    TOO_LARGE = ("RESOURCE_EXHAUSTED", 413)
    OVERLOADED = ("RESOURCE_EXHAUSTED", 503)
    DEADLINE_EXCEEDED = ("DEADLINE_EXCEEDED", 503)
    UNAVAILABLE = ("UNAVAILABLE", 503)

    @property
    def grpc_name(self) -> str:
        """The name of gRPC's status, which the request log has too."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """The status of a REST answer."""
        return self.value[1]


class RejectedError(Exception):
    """A request is rejected; the message is one sentence, for the client.

    Attributes:
        code: Why.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RejectedError:
    """Returns the error for a request that is wrong itself."""
    return RejectedError(Code.INVALID_ARGUMENT, message)
