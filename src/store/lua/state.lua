-- What a node holds now, as it knows it. KEYS: a hash for each cap. ARGV: this node, how long a hash is kept; then for each
-- cap how many it holds, the number of that statement, and the age of the oldest.
local node, keep = ARGV[1], ARGV[2]
for index, key in ipairs(KEYS) do
  local at = 2 + (index - 1) * 3
  local count, number = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local field = redis.call('HGET', key, node)
  local written = field and tonumber(string.match(field, '^%d+ (%d+) '))
  if not written or number >= written then
    if count == 0 then
      redis.call('HDEL', key, node)
    else
      local since = now - tonumber(ARGV[at + 3])
      redis.call('HSET', key, node, string.format('%.0f %.0f %.0f', count, number, since))
      redis.call('PEXPIRE', key, keep)
    end
  end
end
return 0
