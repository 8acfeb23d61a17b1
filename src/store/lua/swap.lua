-- Revocations in the place of others, where these still stand there. KEYS: the hash. ARGV: the bytes of the longest
-- value, the channel; then for each a field, the value that stands there, the one that is to stand
-- there ('' for none), and the name of this change. Answers 1 for each that was written, else 0.
local answer = {}
for at = 3, #ARGV, 4 do
  local field, old, new, name = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if stored(field, ARGV[1]) ~= old then
    answer[#answer + 1] = 0
  else
    answer[#answer + 1] = 1
    if new == '' then
      redis.call('HDEL', KEYS[1], field)
    else
      local before = stored('change', 64)
      redis.call('HSET', KEYS[1], field, new, 'change', name)
      redis.call('PUBLISH', ARGV[2], before .. ' ' .. name .. ' ' .. field .. ' ' .. new)
    end
  end
end
return answer
