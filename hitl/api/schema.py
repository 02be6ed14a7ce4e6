"""How the approvals API describes itself."""

from drf_spectacular.utils import extend_schema

approve = extend_schema(summary="Approve a request")
reject = extend_schema(summary="Reject a request")
cancel = extend_schema(summary="Withdraw a request")
requests = extend_schema(summary="Open a request, or list them")
request = extend_schema(summary="Read a request")
signal = extend_schema(summary="Read a session's signal")
wait = extend_schema(summary="Wait for a decision")
