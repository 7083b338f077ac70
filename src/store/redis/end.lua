-- Ends the session, for the reason ARGV[11], if its owner is [12] or that does not matter.
local entry = read()
if entry == false then return { 'foreign' } end
local session = entry and entry.session
if not session or session.ended then return { 'unknown' } end
if ARGV[12] ~= '' and ARGV[12] ~= owner_of(session) then return { 'unknown' } end
if not finish(entry, ARGV[11]) then return { 'full' } end
return told(session, ARGV[11], '1')
