-- A chunk of one budget. KEYS: its bucket. ARGV: units, period, burst, the units wanted, those owed, and those given back.
-- Answers the units granted, the milliseconds until there is room for one more, 0 where all was granted, and the excess.
local key = KEYS[1]
local units, period, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local want, debt, back = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local known = load(key)
-- As if it had never been charged: what drained since drained all the same.
if known and back > 0 then
  known.excess = math.max(0, known.excess - back)
  save(key, known, units, period, ONE)
end
-- As of hits of one unit each at one instant: only the first finds what drained, and it is free for a new key.
local base, last = -ONE, now
if known then
  local ms = elapsed(known.last)
  base = math.max(-ONE, known.excess - drained(units, period, ms))
  if ms == 0 then last = known.last end
end
base = base + debt
local granted = math.max(0, math.min(want, math.floor((burst - base) / ONE) * ONE))
-- A refusal costs nothing, and leaves the time as it was.
if granted > 0 or debt > 0 then
  known = { excess = math.max(0, base + granted), last = last }
  save(key, known, units, period, ONE)
end
local retry = 0
if granted < want then
  retry = math.max(1, ceil_ms(units, period, math.max(0, known.excess + ONE - burst)) - elapsed(known.last))
end
return { granted, retry, math.max(0, base + granted) }
