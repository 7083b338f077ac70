-- Puts the session ARGV[1] on its owner's list, which is kept for [2], or for good. Answers with a few that have been on
-- it for an hour and may be over; none so young is ever struck off, for its session may be about to begin.
local key, session, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local left = redis.call('PTTL', key)
redis.call('ZADD', key, now, session)
if ttl < 0 then
  redis.call('PERSIST', key)
elseif left ~= -1 then
  redis.call('PEXPIRE', key, string.format('%.0f', math.max(ttl, left)))
end
return redis.call('ZRANGEBYSCORE', key, 0, now - 3600000, 'LIMIT', 0, 2)
