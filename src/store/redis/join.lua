-- Makes the id one of the session ARGV[12], which is the one here. [11]: it is the id the request came with.
local presented, name = ARGV[11] == '1', ARGV[12]
local entry, refusal = read_live()
if refusal then return refusal end
local session = entry.session
local ids, n = session.ids, position(session)
local reply = { n and 'known' or 'new', int(lead_ttl(session)) }
local place = 0
for _, issued in ipairs(ids) do place = math.max(place, issued.last + 1) end
if n then
  local known = ids[n]
  if presented then
    -- An answer that sets its request's own id says nothing new, and must not take the place of a newer one.
    local overtaken = known.works_until
    for _, other in ipairs(ids) do
      overtaken = overtaken or (other.last > known.last and now - other.last_at < 2 * grace)
    end
    return overtaken and { 'stale' } or reply
  end
  known.last, known.last_at = place, now
  if known.works_until then
    known.first, known.issued, known.used, known.works_until = place, now, false, nil
  end
  return save(entry) and reply or { 'full' }
elseif #ids == 0 and id == name then
  return { 'known', reply[2] }
elseif presented then
  return { 'stale' }
elseif #ids == 0 then
  ids[1], place = first_id(name, session), 1
end
ids[#ids + 1] = { name = id, issued = now, first = place, last = place, last_at = now, used = false }
local function least_needed()
  local least, lowest
  for n, issued in ipairs(ids) do
    local is_over = issued.works_until and now >= issued.works_until
    local rank = { is_over and 0 or 1, issued.used and 1 or 0, issued.last }
    if issued.name ~= id and (not lowest or rank[1] < lowest[1] or (rank[1] == lowest[1] and (rank[2] < lowest[2]
      or (rank[2] == lowest[2] and rank[3] < lowest[3])))) then
      least, lowest = n, rank
    end
  end
  return least
end
while #ids > MOST_IDS do
  reply[#reply + 1] = table.remove(ids, least_needed()).name
end
return save(entry) and reply or { 'full' }
