-- Whether this server drops records to make room: ARGV is not used, the key tells a cluster which server.
local memory = redis.pcall('INFO', 'memory')
if type(memory) ~= 'string' then return 1 end
local bound, eviction = string.match(memory, 'maxmemory:(%d+)'), string.match(memory, 'maxmemory_policy:(%S+)')
return (bound and (bound == '0' or eviction == 'noeviction')) and 0 or 1
