-- The record, and the server's time: nothing, or 0 where something is that is no record.
local record = redis.pcall('GET', KEYS[1])
if type(record) == 'table' then record = 0 end
local now = redis.call('TIME')
return { now[1], now[2], record }
