-- What a node holds now, as it knows it. KEYS: a hash for each cap. ARGV: this node, how long a hash is kept; then for each
-- cap 'whole' or 'change', how many it holds or by how many more, the version that it knows, and the age of its oldest. A
-- whole count is taken only if nothing was taken or given back since that version. Answers 1 if it was taken or else 0, and
-- the version that is there now (0: none is).
local node, keep = ARGV[1], ARGV[2]
local answer = {}
for index, key in ipairs(KEYS) do
  local at = 2 + (index - 1) * 4
  local whole, count, known = ARGV[at + 1] == 'whole', tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local field = redis.call('HGET', key, node)
  local old, version = string.match(field or '', '^(%d+) (%d+) ')
  version = tonumber(version or 0)
  local taken = 0
  if whole then
    if version == 0 then
      taken, version = 1, now * 1000
    elseif version == known then
      taken, version = 1, version + 1
    end
  elseif version > 0 then
    taken, version, count = 1, version + 1, tonumber(old) + count
  end
  if taken == 1 then
    if count <= 0 then
      redis.call('HDEL', key, node)
    else
      local since = now - tonumber(ARGV[at + 4])
      redis.call('HSET', key, node, string.format('%.0f %.0f %.0f', count, version, since))
      redis.call('PEXPIRE', key, keep)
    end
  end
  answer[#answer + 1], answer[#answer + 2] = taken, version
end
return answer
