-- Begins a session: with limits ARGV[11] and [12] of its own, owner [13], authenticated [14] ago. One that is adopted is
-- remembered for [15] after its end.
local age, remembered = tonumber(ARGV[14]), limit(ARGV[15])
local entry = read()
if entry == false then return { 'foreign' } end
if entry then
  if remembered then return { 'known' } end
  if entry.lead == '=' then
    local reason = judge(entry)
    local stands = standing(entry.session)
    if not reason and stands == 'works' then return { 'live' } end
  end
  return { 'occupied' }
end
if remembered then
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) ~= 'string' then return { 'evicts' } end
  local bound, eviction = string.match(memory, 'maxmemory:(%d+)'), string.match(memory, 'maxmemory_policy:(%S+)')
  if not bound or (bound ~= '0' and eviction ~= 'noeviction') then return { 'evicts' } end
end
local started = math.max(now - age, 0)
local session = {
  started = started, active = remembered and started or now,
  idle = limit(ARGV[11]), absolute = limit(ARGV[12]), remembered = remembered, ids = {},
}
if ARGV[13] ~= '' then session.owner = string.sub(ARGV[13], 2) end
if led then session.ids[1] = first_id(id, session) end
return { save({ lead = '=', session = session }) and 'new' or 'at capacity' }
