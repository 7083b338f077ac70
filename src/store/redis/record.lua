-- What is kept under a key, which is the hashed name of an id:
--
--     1 LEAD t<ms>                                   the id leads to the session of that name
--     1 = STARTED ACTIVE ...                         the id began this session, and leads to it
--     1 LEAD STARTED ACTIVE ... t<ms>                as the latter, but by now the id leads elsewhere
--
-- Instants are milliseconds by the server's clock. Rest of a session: e<when>,<reason> once ended; i<idle>
-- a<absolute> limits of its own; o<owner>; r<ms> how long its end is remembered at least; and for each id
-- n<id>,<issued>,<first set>,<last set>,<last set at>,<used>,<works until>: its places in the order in which the
-- application set ids, its first and its last one. No id is listed as long as there is only the first.
local KEEP_ENDED, MOST_IDS = 300000, 64
local key, id, led = KEYS[1], ARGV[1], ARGV[2] == '1'

local function limit(text)
  local number = tonumber(text)
  return number >= 0 and number or nil
end

local policy = { idle = tonumber(ARGV[3]), absolute = limit(ARGV[4]) }
local cap = limit(ARGV[5]) and { idle = limit(ARGV[5]), absolute = limit(ARGV[6]) }
local grace = tonumber(ARGV[7])
local widest = { idle = tonumber(ARGV[8]), absolute = limit(ARGV[9]) }
local granularity = limit(ARGV[10])

local function int(number)
  return string.format('%.0f', number)
end

local function encode(entry)
  local parts = { '1', entry.lead }
  local session = entry.session
  if session then
    parts[3], parts[4] = int(session.started), int(session.active)
    if session.ended then parts[#parts + 1] = 'e' .. int(session.ended) .. ',' .. session.reason end
    if session.idle then parts[#parts + 1] = 'i' .. int(session.idle) end
    if session.absolute then parts[#parts + 1] = 'a' .. int(session.absolute) end
    if session.owner then parts[#parts + 1] = 'o' .. session.owner end
    if session.remembered then parts[#parts + 1] = 'r' .. int(session.remembered) end
    for _, issued in ipairs(session.ids) do
      parts[#parts + 1] = 'n' .. issued.name .. ',' .. int(issued.issued) .. ',' .. int(issued.first) .. ','
        .. int(issued.last) .. ',' .. int(issued.last_at) .. ',' .. (issued.used and '1' or '0')
        .. ',' .. (issued.works_until and int(issued.works_until) or '')
    end
  end
  if entry.ttl then parts[#parts + 1] = 't' .. int(entry.ttl) end
  return table.concat(parts, ' ')
end

-- Nil: nothing is there. False: something is that no store of this kind wrote.
local function read()
  local value = redis.pcall('GET', key)
  if not value then return nil end
  if type(value) ~= 'string' then return false end
  local lead, rest = string.match(value, '^1 (%S+)(.*)$')
  if not lead or not (lead == '=' or string.match(lead, '^[%w_-]+$') and #lead == 22) then return false end
  local entry = { lead = lead }
  local started, active, more = string.match(rest, '^ (%d+) (%d+)(.*)$')
  if started then
    entry.session = { started = tonumber(started), active = tonumber(active), ids = {} }
    rest = more
  elseif lead == '=' then
    return false
  end
  local session = entry.session or {}
  for kind, text in string.gmatch(rest, ' (%a)(%S*)') do
    if kind == 'e' then
      local ended, reason = string.match(text, '^(%d+),([%a-]+)$')
      if not ended then return false end
      session.ended, session.reason = tonumber(ended), reason
    elseif kind == 'i' then session.idle = tonumber(text)
    elseif kind == 'a' then session.absolute = tonumber(text)
    elseif kind == 'o' and string.match(text, '^[%w_-]*$') then session.owner = text
    elseif kind == 'r' then session.remembered = tonumber(text)
    elseif kind == 't' then entry.ttl = tonumber(text)
    elseif kind == 'n' and session.ids then
      local name, issued, first, last, last_at, used, works_until =
        string.match(text, '^([%w_-]+),(%d+),(%d+),(%d+),(%d+),([01]),(%d*)$')
      if not name then return false end
      session.ids[#session.ids + 1] = {
        name = name, issued = tonumber(issued), first = tonumber(first), last = tonumber(last),
        last_at = tonumber(last_at), used = used == '1', works_until = tonumber(works_until),
      }
    end
  end
  -- Whatever was not understood is not there any more.
  if encode(entry) ~= value then return false end
  return entry
end

-- How long an id has to lead to a session.
local function lead_ttl(session)
  local idle, absolute = widest.idle, widest.absolute
  if session.idle then idle, absolute = session.idle, session.absolute end
  return (absolute or 2 * idle) + KEEP_ENDED
end

-- True, or false if the server has no memory left. Any other trouble is raised. Expiry by the server only clears
-- away what has long been over.
local function save(entry)
  local session, ttl, may_shorten = entry.session, entry.ttl or 0, false
  if session then
    local kept = math.max(KEEP_ENDED, session.remembered or 0)
    if session.ended then
      may_shorten = entry.lead == '='
    else
      local idle, absolute = widest.idle, widest.absolute
      if session.idle then idle, absolute = session.idle, session.absolute end
      local deadline = session.active + idle
      if absolute then deadline = math.min(deadline, session.started + absolute) end
      kept = kept + math.max(deadline - now, 0)
    end
    ttl = math.max(ttl, kept)
  end
  if not may_shorten then ttl = math.max(ttl, redis.call('PTTL', key)) end
  local value = encode(entry)
  local saved = redis.pcall('SET', key, value, 'PX', int(ttl))
  if not saved.err then return true end
  if string.find(saved.err, 'OOM', 1, true) then return false end
  redis.call('SET', key, value, 'PX', int(ttl))
  return true
end

-- False if it could not be written down that the session is over.
local function finish(entry, reason)
  entry.session.ended, entry.session.reason = now, reason
  if save(entry) then return true end
  if entry.session.remembered or entry.lead ~= '=' then return false end
  -- There is always room for less.
  redis.call('DEL', key)
  return true
end

local function over(limits, idle_for, age)
  local idle = idle_for - limits.idle
  local absolute = limits.absolute and age - limits.absolute or -1
  if idle < 0 and absolute < 0 then return nil end
  -- Whichever ran out first.
  if idle >= 0 and (absolute < 0 or idle > absolute) then return 'idle' end
  return 'absolute'
end

-- If the clock was set back since the session was last in use, it is as old as it was then.
local function set_back(session)
  local by = session.active - now
  if by <= 0 then return false end
  local function back(instant)
    return math.max(instant - by, 0)
  end
  session.started, session.active = back(session.started), now
  for _, issued in ipairs(session.ids) do
    issued.issued, issued.last_at = back(issued.issued), back(issued.last_at)
    issued.works_until = issued.works_until and back(issued.works_until)
  end
  return true
end

-- Why the session is over, if it is; and whether that was found just now. To be asked before its `standing`.
local function judge(entry)
  local session = entry.session
  if session.ended then return session.reason, '0' end
  entry.was_set_back = set_back(session)
  local reason = over(session.idle and session or policy, now - session.active, now - session.started)
  if not reason then return nil end
  return reason, finish(entry, reason) and '1' or '0'
end

local function first_id(name, session)
  local started = session.started
  return { name = name, issued = started, first = 0, last = 0, last_at = started, used = true }
end

local function position(session)
  for n, issued in ipairs(session.ids) do
    if issued.name == id then return n end
  end
end

local function forget(session)
  local n = position(session)
  if n and #session.ids > 1 then table.remove(session.ids, n) end
end

-- Whether the session goes by this id: 'works', 'superseded' or 'unknown'.
local function standing(session)
  if id == '' or (#session.ids == 0 and not led) then return 'works' end
  local n = position(session)
  if not n then return 'unknown' end
  local works_until = session.ids[n].works_until
  return works_until and now >= works_until and 'superseded' or 'works'
end

local function owner_of(session)
  return session.owner and 'o' .. session.owner or ''
end

local function told(session, reason, just_ended)
  return {
    'over', reason, session.owner and '1' or '0', just_ended,
    int(now - session.active), int(now - session.started), owner_of(session),
  }
end

-- The record, if its session is live; or what to answer instead.
local function read_live()
  local entry = read()
  if entry == false then return nil, { 'foreign' } end
  local session = entry and entry.session
  if not session then return nil, { 'unknown' } end
  local reason, just_ended = judge(entry)
  if reason then return nil, told(session, reason, just_ended) end
  return entry
end
