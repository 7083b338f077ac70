-- Makes the id one of the session ARGV[12], which is the one here. [11]: it is the id the request came with.
local presented, name = ARGV[11] == '1', ARGV[12]
local entry = read()
if entry == false then return { 'foreign' } end
local session = entry and entry.session
if not session then return { 'unknown' } end
local reason, just_ended = judge(entry)
if reason then return told(session, reason, just_ended) end
local ids, n = session.ids, position(session)
local reply = { n and 'known' or 'new', int(lead_ttl(session)) }
if n then
  if not ids[n].works_until then return reply end
  if presented then return { 'stale' } end
  table.remove(ids, n)
elseif #ids == 0 and id == name then
  return { 'known', reply[2] }
elseif presented then
  return { 'stale' }
elseif #ids == 0 then
  ids[1] = { name = name, issued = session.started, used = true }
end
ids[#ids + 1] = { name = id, issued = now, used = false }
local function least_missed()
  for n = 1, #ids - 1 do
    if ids[n].works_until and now >= ids[n].works_until then return n end
  end
  for n = 1, #ids - 1 do
    if not ids[n].used then return n end
  end
  return 1
end
while #ids > MOST_IDS do
  reply[#reply + 1] = table.remove(ids, least_missed()).name
end
return save(entry) and reply or { 'full' }
