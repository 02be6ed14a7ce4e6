"""The names of Redis keys, and the scripts that take them by name (docs/reference/wire.md, 5).

No other module names a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from typing import Any

from redis.exceptions import NoScriptError

from dwp_project.deployment import identity
from dwp_project.wakeup import Message, redis_client

# How many seconds a key lives (wire.md, 5.1).
REQUEST_TTL = 1800
SESSION_TTL = 3600
SIGNAL_TTL = 300

# The one key of ours that all deployments share: when each has last beaten.
DEPLOYMENTS = "dwp:deployments"

# The member of a request's value that names the deployment which opened it; agents write none.
MARK = "dwpDeployment"


def request_key(request_id: str) -> str:
    """Return the key of a request: the question, as JSON."""
    return f"hitl:request:{request_id}"


def session_key(session_id: str) -> str:
    """Return the key that names the request which a session waits for."""
    return f"hitl:session:{session_id}"


def channel_of(session_id: str) -> str:
    """Return the channel on which a session's agent listens."""
    return f"hitl:channel:{session_id}"


def signal_key(session_id: str) -> str:
    """Return the key of a session's newest signal."""
    return f"hitl:signal:{session_id}"


def newest_key(session_id: str) -> str:
    """Return our own key that says when the session's newest request was opened."""
    return f"dwp:hitl:{identity.current()}:newest:{session_id}"


def last_run_key() -> str:
    """Return our own key that holds the id of the Redis run that has been given every signal so
    far."""
    return f"dwp:hitl:{identity.current()}:memory"


def scanned_key() -> str:
    """Return our own key that says when the last scan of all requests in Redis began."""
    return f"dwp:hitl:{identity.current()}:scanned"


def unadopted_key(session_id: str) -> str:
    """Return our own key that says until when an agent of the session may be waiting whose
    question is not adopted."""
    return f"dwp:hitl:{identity.current()}:unadopted:{session_id}"


def text_of(value: bytes | str) -> str:
    """Return what Redis answered as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Script:
    """A Lua script, which Redis runs in one atomic step.

    Its body refers to keys and arguments by the names that are declared here, and callers pass
    them by the same names.
    """

    def __init__(
        self, body: str, *, keys: tuple[str, ...], arguments: tuple[str, ...] = ()
    ) -> None:
        self._keys, self._arguments = keys, arguments
        declared = [
            *(f"local {name} = KEYS[{number}]" for number, name in enumerate(keys, start=1)),
            *(f"local {name} = ARGV[{number}]" for number, name in enumerate(arguments, start=1)),
        ]
        self.text = "\n".join([*declared, body])
        self._digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, **values: str | bytes) -> Any:
        """Run the script; raises `redis.RedisError`."""
        [answer] = self.run_all([values])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run_all(
        self,
        calls: Iterable[Mapping[str, str | bytes]],
        *,
        after: Sequence[Message] = (),
        before: Sequence[Message] = (),
    ) -> list[Any]:
        """Run the script once for each call's values, in one round trip, in which the messages
        are published too; return what each call answered, or the `redis.ResponseError` it met.
        Raises `redis.RedisError` if Redis cannot be reached."""
        ordered = [self._in_order(values) for values in calls]
        pipeline = redis_client().pipeline(transaction=False)
        for message in before:
            pipeline.publish(*message)
        for keys, arguments in ordered:
            pipeline.evalsha(self._digest, len(keys), *keys, *arguments)
        for message in after:
            pipeline.publish(*message)
        answers = pipeline.execute(raise_on_error=False)
        answers = answers[len(before) : len(before) + len(ordered)]
        # Redis runs none of those whose script it has not seen since it started.
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            pipeline = redis_client().pipeline(transaction=False)
            for number in unknown:
                keys, arguments = ordered[number]
                pipeline.eval(self.text, len(keys), *keys, *arguments)
            for number, answer in zip(unknown, pipeline.execute(False), strict=True):
                answers[number] = answer
        return answers

    def _in_order(
        self, values: Mapping[str, str | bytes]
    ) -> tuple[list[str | bytes], list[str | bytes]]:
        if values.keys() != {*self._keys, *self._arguments}:
            raise TypeError(f"the script takes {self._keys} and {self._arguments}")
        return [values[name] for name in self._keys], [values[name] for name in self._arguments]


# id_in: the requestId of a JSON object, which agents also write as a number; nil if it has none.
# The digits are the text's own, because cjson rounds large numbers.
# named_by: the request that the value of a session's key names: JSON with a requestId, a JSON
# string, or a bare id. For JSON of any other shape it is ''.
# is_of: whether a JSON text belongs to that request.
NAMED_BY = """
local function id_in(body, text)
  if type(body.requestId) == 'string' then return body.requestId end
  if type(body.requestId) ~= 'number' then return nil end
  for digits in string.gmatch(text, '"requestId"%s*:%s*(-?%d+)') do
    if tonumber(digits) == body.requestId then return digits end
  end
  return string.format('%.0f', body.requestId)
end
local function named_by(waiting)
  if not waiting then return nil end
  local ok, named = pcall(cjson.decode, waiting)
  if ok and type(named) == 'table' then return id_in(named, waiting) or '' end
  if ok and type(named) == 'string' then return named end
  return waiting
end
local function is_of(text, id)
  if not text then return false end
  local ok, body = pcall(cjson.decode, text)
  return ok and type(body) == 'table' and id_in(body, text) == id
end
"""

# text_at: a key's value, nil if it is missing or of another type.
# is_marked: whether a request's value bears a deployment's mark. Agents write none.
# is_for: whether a request's value is of the session and the person that the JSON of a session's
# key names.
# is_from: whether it was created then, in Unix milliseconds.
MARKED = f"""
local function text_at(key)
  local text = redis.pcall('GET', key)
  return type(text) == 'string' and text or nil
end
local function is_marked(text)
  local ok, body = pcall(cjson.decode, text)
  return ok and type(body) == 'table' and body.{MARK} ~= nil
end
local function is_for(text, session)
  local body, owner = cjson.decode(text), cjson.decode(session)
  return body.sessionId == owner.sessionId and body.tenantId == owner.tenantId
    and body.userId == owner.userId
end
local function is_from(text, created_at)
  local body = cjson.decode(text)
  return type(body.createdAt) == 'number' and string.format('%.0f', body.createdAt) == created_at
end
"""
