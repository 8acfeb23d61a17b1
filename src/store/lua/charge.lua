-- Several limits at once: all are charged, or none is. KEYS: a bucket for each limit. ARGV: for each limit units, period,
-- burst, delay, cost, and 1 for a dry run. Answers the index of the first that refuses (from 1; 0 for none) and its
-- milliseconds, or the longest wait; then threes of an index, what it does (0 a dry run's wait, 1 a dry run's refusal, 2 a
-- wait), and milliseconds.
local answer, noted, longest = { 0, 0 }, {}, 0
local function tell(index, what, ms)
  for _, number in ipairs({ index, what, ms }) do answer[#answer + 1] = number end
end
for index, key in ipairs(KEYS) do
  local at = (index - 1) * 6
  local units, period = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local burst, delay, cost = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local dry = ARGV[at + 6] == '1'
  -- Two limits may count the same key: the second one then counts on top of the first.
  local known = noted[key] and noted[key].bucket or load(key)
  local charged, wait, retry = { excess = 0, last = now }, 0, nil
  if known then
    local ms = elapsed(known.last)
    charged.excess = math.max(0, known.excess + cost - drained(units, period, ms))
    if ms == 0 then charged.last = known.last end
    if charged.excess > burst then
      retry = math.max(0, ceil_ms(units, period, math.max(0, known.excess + cost - burst)) - ms)
    elseif charged.excess > delay then
      wait = floor_ms(units, period, charged.excess - delay)
    end
  end
  if retry then
    if not dry then
      answer[1], answer[2] = index, retry
      return answer
    end
    tell(index, 1, retry)
  else
    noted[key] = { bucket = charged, units = units, period = period, cost = cost }
    if not dry then longest = math.max(longest, wait) end
    if wait > 0 then tell(index, dry and 0 or 2, wait) end
  end
end
for key, note in pairs(noted) do
  save(key, note.bucket, note.units, note.period, note.cost)
end
answer[2] = longest
return answer
