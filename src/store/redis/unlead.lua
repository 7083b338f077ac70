-- The session ARGV[11] has forgotten this id.
local entry = read()
if entry and entry.lead == ARGV[11] and not entry.session then redis.call('DEL', key) end
return { 'gone' }
