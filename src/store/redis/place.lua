-- Makes an id lead to the session ARGV[11], for [13]; away from nothing that is live here, and from no other session
-- but [12], of which the store has asked before.
local target, expected = ARGV[11], ARGV[12]
local entry = read()
if entry == false then return { 'foreign' } end
if not entry then
  entry = {}
elseif entry.lead == target then
  return { 'placed' }
elseif entry.lead == '=' then
  local reason = judge(entry)
  local stands = standing(entry.session)
  if not reason then
    if stands == 'works' then return { 'live' } end
    forget(entry.session)
  end
elseif entry.lead ~= expected then
  return { 'elsewhere', entry.lead }
end
if target == '=' and not entry.session then return { 'gone' } end
entry.lead = target
entry.ttl = tonumber(ARGV[13])
return { save(entry) and 'placed' or 'full' }
