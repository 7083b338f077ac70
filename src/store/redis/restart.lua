-- Both clocks of the session ARGV[11], which is the one here, begin anew, and superseded ids end. The others are as old
-- as they are.
local entry, refusal = read_live()
if refusal then return refusal end
local session = entry.session
local reply, kept = { 'restarted' }, {}
if #session.ids == 0 then session.ids[1] = first_id(ARGV[11], session) end
for _, issued in ipairs(session.ids) do
  if issued.works_until then reply[#reply + 1] = issued.name else kept[#kept + 1] = issued end
end
session.started, session.active, session.ids = now, now, kept
return save(entry) and reply or { 'full' }
