"""The Redis scripts: each is one atomic step (docs/reference/wire.md, 5.2 and 5.3).

Their keys are named by `hitl.delivery.keys` alone.
"""

# What a session's key names: JSON with a requestId, a JSON string, or a bare id. JSON
# of any other shape names nothing that is known: ''.
_NAMED_BY = """
local function named_by(waiting)
  if not waiting then return nil end
  local ok, named = pcall(cjson.decode, waiting)
  if ok and type(named) == 'table' then
    if type(named.requestId) == 'number' then return string.format('%.0f', named.requestId) end
    return type(named.requestId) == 'string' and named.requestId or ''
  end
  if ok and type(named) == 'string' then return named end
  return waiting
end
local function is_of(text, request_id)
  local ok, told = pcall(cjson.decode, text)
  return ok and type(told) == 'table' and told.requestId == request_id
end
"""

# A value that says of a request that it has ended.
_HAS_ENDED = """
local function has_ended(text, request_id)
  if not text then return false end
  local ok, told = pcall(cjson.decode, text)
  return ok and type(told) == 'table' and told.requestId == request_id
    and told.status ~= nil and told.status ~= 'pending'
end
"""

# Opening: the request becomes the one its session waits for, and an older answer goes.
# Two openings may reach Redis in the wrong order; KEYS[4] keeps when the newest was opened. A
# session's key without it is an agent's own, who would take the answer for its question's.
# A request that was ended meanwhile is not made pending again by an opening that comes late.
ANNOUNCE = (
    _NAMED_BY
    + _HAS_ENDED
    + """
if not has_ended(redis.call('GET', KEYS[1]), ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5])
end
local named = named_by(redis.call('GET', KEYS[2]))
local newest = redis.call('GET', KEYS[4])
if ARGV[7] ~= '' and named ~= ARGV[7] then return 0 end
if ARGV[7] == '' and named and named ~= ARGV[3] and not newest then return 0 end
if newest and tonumber(newest) > tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[4], ARGV[4], 'EX', ARGV[6] + 60)
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[6])
local signal = redis.call('GET', KEYS[3])
if signal and not is_of(signal, ARGV[3]) then redis.call('DEL', KEYS[3]) end
return 1
"""
)

# Deciding: the request's own key always; key and channel of the session only in time, and only
# if the session waits for nothing or for this very request. An agent subscribes late and takes
# whatever comes first, so a late or repeated signal must never reach a newer question.
PUBLISH = (
    _NAMED_BY
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5]) end
local now = redis.call('TIME')
if tonumber(now[1]) + tonumber(now[2]) / 1000000 > tonumber(ARGV[6]) then return -1 end
local named = named_by(redis.call('GET', KEYS[2]))
if named and named ~= ARGV[3] then return named end
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[4])
return redis.call('PUBLISH', KEYS[4], ARGV[2])
"""
)

# Publishing again what the session's key holds: nothing is written.
REPEAT = (
    _NAMED_BY
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
if tonumber(now[1]) + tonumber(now[2]) / 1000000 > tonumber(ARGV[3]) then return -1 end
local named = named_by(redis.call('GET', KEYS[1]))
if named and named ~= ARGV[2] then return named end
return redis.call('PUBLISH', KEYS[3], ARGV[1])
"""
)

# A vote, an escalation: the request's own key, unless that tells of its end already, which may
# have been committed and told meanwhile.
REFRESH = (
    _HAS_ENDED
    + """
if has_ended(redis.call('GET', KEYS[1]), ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return 1
"""
)

WAITING = (
    _NAMED_BY
    + """
return named_by(redis.call('GET', KEYS[1]))
"""
)

# Adopting: an answer to an older request of the session goes; nothing else is written. If the
# session waits for another already, the signal may be that one's.
FORGET = (
    _NAMED_BY
    + """
local named = named_by(redis.call('GET', KEYS[2]))
if named and named ~= ARGV[1] then return 0 end
local signal = redis.call('GET', KEYS[1])
if not signal or is_of(signal, ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
"""
)
