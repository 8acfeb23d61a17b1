-- A slot of several caps: all are taken, or none is. KEYS: the nodes, then a hash for each cap. ARGV: this node, how long a
-- hash is kept; then for each cap its limit, how many this node holds for sure, and the age of its oldest. A field is
-- "COUNT VERSION SINCE". Answers the index of the cap that is full (from 1; 0 for none), the node of its oldest slot, 1 if
-- what this node wrote before is gone, and each field's new version.
local node, keep = ARGV[1], ARGV[2]
local lost = redis.call('ZSCORE', KEYS[1], node) and 0 or 1
local alive = { [node] = true }
local function is_alive(name)
  if alive[name] == nil then
    local ends = redis.call('ZSCORE', KEYS[1], name)
    alive[name] = ends and tonumber(ends) > now or false
  end
  return alive[name]
end
local write, versions = {}, {}
for index = 2, #KEYS do
  local at = 2 + (index - 2) * 3
  local limit, had = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local others, oldest, oldest_since, mine = 0, '', nil, nil
  local fields = redis.call('HGETALL', KEYS[index])
  for place = 1, #fields, 2 do
    local name = fields[place]
    local count, version, since = string.match(fields[place + 1], '^(%d+) (%d+) (%d+)$')
    if not count or not is_alive(name) then
      redis.call('HDEL', KEYS[index], name)
    else
      count, version, since = tonumber(count), tonumber(version), tonumber(since)
      if name == node then mine = { count, version, since } else others = others + count end
      if not oldest_since or since < oldest_since then oldest, oldest_since = name, since end
    end
  end
  if not mine then
    if had > 0 then lost = 1 end
    -- Later than that of any field that was here before.
    mine = { had, now * 1000, now - tonumber(ARGV[at + 3]) }
  end
  if others + mine[1] + 1 > limit then return { index - 1, oldest, lost, {} } end
  versions[#versions + 1] = mine[2] + 1
  write[index] = string.format('%.0f %.0f %.0f', mine[1] + 1, mine[2] + 1, mine[3])
end
for index = 2, #KEYS do
  redis.call('HSET', KEYS[index], node, write[index])
  redis.call('PEXPIRE', KEYS[index], keep)
end
return { 0, '', lost, versions }
