-- A part of all revocations. KEYS: the hash. ARGV: the cursor, how many at about, the bytes of the longest value. Answers the
-- next cursor, then each field and its value; '' and '' for what is longer than anything that a gateway wrote.
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, most, answer = page[2], tonumber(ARGV[3]), { page[1] }
for at = 1, #found, 2 do
  if found[at] ~= 'change' then
    local fits = #found[at] <= 64 and #found[at + 1] <= most
    answer[#answer + 1] = fits and found[at] or ''
    answer[#answer + 1] = fits and found[at + 1] or ''
  end
end
return answer
