-- What stands in a field of the hash: nothing if there is none, and "?" for what is longer than anything that a gateway
-- wrote, so that nobody has to take it in.
local function stored(field, most)
  local length = redis.call('HSTRLEN', KEYS[1], field)
  if length == 0 then return '' end
  if length > tonumber(most) then return '?' end
  return redis.call('HGET', KEYS[1], field)
end
