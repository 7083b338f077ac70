-- Is the session live under this id? If it is not, the id may lead elsewhere from now on.
local entry = read()
if entry == false then return { 'foreign' } end
local session = entry and entry.session
if not session then return { 'gone' } end
local reason = judge(entry)
local stands = standing(session)
if reason then return { 'gone' } end
if stands == 'works' and ARGV[11] ~= 'by all means' then return { 'live' } end
forget(session)
save(entry)
return { 'gone' }
