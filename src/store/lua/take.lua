-- A slot of several caps: all are taken, or none is. KEYS: the nodes, then a hash for each cap. ARGV: this node, how long a
-- hash is kept; then for each cap its limit, how many this node holds with the new one, the number of that statement, 1 if
-- it held some before, and the age of its oldest. A field is "COUNT NUMBER SINCE". Answers the index of the cap that is full
-- (from 1; 0 for none), the node of its oldest slot, and 1 if what this node wrote before is gone.
local node, keep = ARGV[1], ARGV[2]
local lost = 0
if not redis.call('ZSCORE', KEYS[1], node) then lost = 1 end
local alive = { [node] = true }
local function is_alive(name)
  if alive[name] == nil then
    local ends = redis.call('ZSCORE', KEYS[1], name)
    alive[name] = ends and tonumber(ends) > now or false
  end
  return alive[name]
end
local write = {}
for index = 2, #KEYS do
  local at = 2 + (index - 2) * 5
  local limit, mine, number = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local others, oldest, oldest_since, written = 0, '', nil, nil
  local fields = redis.call('HGETALL', KEYS[index])
  for place = 1, #fields, 2 do
    local name = fields[place]
    local count, told, since = string.match(fields[place + 1], '^(%d+) (%d+) (%d+)$')
    if not count or not is_alive(name) then
      redis.call('HDEL', KEYS[index], name)
    else
      if name == node then written = tonumber(told) else others = others + tonumber(count) end
      if not oldest_since or tonumber(since) < oldest_since then
        oldest, oldest_since = name, tonumber(since)
      end
    end
  end
  if not written and ARGV[at + 4] == '1' then lost = 1 end
  if others + mine > limit then return { index - 1, oldest, lost } end
  -- Calls of one node may overtake each other: the later statement counts.
  if not written or number > written then
    local since = now - tonumber(ARGV[at + 5])
    write[#write + 1] = { KEYS[index], string.format('%.0f %.0f %.0f', mine, number, since) }
  end
end
for _, field in ipairs(write) do
  redis.call('HSET', field[1], node, field[2])
  redis.call('PEXPIRE', field[1], keep)
end
return { 0, '', lost }
