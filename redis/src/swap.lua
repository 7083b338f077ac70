-- Puts the record ARGV[2] in place of ARGV[1], for [3] milliseconds, if it is not later than [4], in microseconds; ''
-- is no record, and no time. Whether it did.
if ARGV[4] ~= '' then
  local now = redis.call('TIME')
  if now[1] * 1000000 + now[2] > tonumber(ARGV[4]) then return 0 end
end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
