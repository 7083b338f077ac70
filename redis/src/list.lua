-- Puts the session ARGV[1] on its owner's list, which is kept for [2], or for good. Answers with a few that have been on
-- it for an hour and may be over; none so young is ever struck off, for its session may be about to begin.
local key, session, ttl, now = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- What is no list would keep its owner out for good.
if redis.call('TYPE', key).ok ~= 'zset' then redis.call('DEL', key) end
local left = redis.call('PTTL', key)
redis.call('ZADD', key, now, session)
if ttl < 0 then
  redis.call('PERSIST', key)
elseif left ~= -1 then
  redis.call('PEXPIRE', key, string.format('%.0f', math.max(ttl, left)))
end
return redis.call('ZRANGEBYSCORE', key, 0, now - 3600000, 'LIMIT', 0, 2)
