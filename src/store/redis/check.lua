-- Is the session live? Renews it, unless ARGV[11] is `peek`: as of that many milliseconds ago.
local access = ARGV[11]
local entry = read()
if entry == nil then return { 'unknown' } end
if not entry then return { 'foreign' } end
if entry.lead ~= '=' and not led and id ~= '' then
  if access ~= 'peek' and entry.ttl and redis.call('PTTL', key) < entry.ttl / 2 then
    redis.call('PEXPIRE', key, int(entry.ttl))
  end
  return { 'elsewhere', entry.lead }
end
local session = entry.session
if not session then return { 'unknown' } end
local reason, just_ended = judge(entry)
local stands = standing(session)
if stands == 'unknown' then return { 'unknown' } end
if reason then return told(session, reason, just_ended) end
if stands == 'superseded' then return told(session, 'superseded', '0') end
local idle_for, age = now - session.active, now - session.started
local capped = cap and over(cap, idle_for, age)
if capped then return { 'capped', capped } end
local n = position(session)
if access ~= 'peek' then
  local before, active = session.active, now - math.min(tonumber(access), idle_for)
  local idle = (session.idle and session or policy).idle
  local step = math.min(granularity or math.min(idle / 60, 60000), idle / 4)
  local changed = entry.was_set_back or (active > before and active - before >= step)
  if n then
    changed = changed or not session.ids[n].used
    session.ids[n].used = true
    -- One that was set again since this one was issued is not older: the browser may have it.
    for _, other in ipairs(session.ids) do
      if other.last < session.ids[n].first and not other.works_until then
        changed, other.works_until = true, now + grace
      end
    end
  end
  -- What is not recorded is not promised.
  session.active = active
  if not changed or not save(entry) then session.active = before end
end
return {
  'live', int(idle_for), int(age), int(now - (n and session.ids[n].issued or session.started)),
  int(now - session.active), session.idle and int(session.idle) or '', session.absolute and int(session.absolute) or '',
  owner_of(session),
}
