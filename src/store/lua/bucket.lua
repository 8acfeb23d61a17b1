-- nginx's limit_req arithmetic, as policy/bucket.rs has it. A bucket is the text "EXCESS LAST" under its key.
-- All numbers are doubles: whatever is stored or compared stays below 2^53, and so is exact.
local ONE, MOST = 1000, 2251799813685248

-- floor(units * ms / period), in parts that stay exact: period is at most a day.
local function drained(units, period, ms)
  local part = units % period
  local above = math.floor(units / period) * ms + part * math.floor(ms / period)
  return above + math.floor(part * (ms % period) / period)
end

-- The milliseconds in which `due` units drain, rounded down; the caller has reduced units and period.
local function floor_ms(units, period, due)
  return math.floor(due / units) * period + math.floor((due % units) * period / units)
end

-- The same rounded up.
local function ceil_ms(units, period, due)
  local ms = floor_ms(units, period, due)
  if drained(units, period, ms) < due then return ms + 1 end
  return ms
end

-- Milliseconds since `last` as nginx clamps them: another clock a little ahead, or one that was really set back.
local function elapsed(last)
  local ms = now - last
  if ms >= 0 then return ms end
  if ms < -60000 then return 1 end
  return 0
end

local function load(key)
  local text = redis.call('GET', key)
  if not text then return nil end
  local excess, last = string.match(text, '^(%d+) (%d+)$')
  if not excess then return nil end
  return { excess = tonumber(excess), last = tonumber(last) }
end

-- Kept until a hit of this cost finds it drained, from when on it equals an absent one.
local function save(key, bucket, units, period, cost)
  bucket.excess = math.min(bucket.excess, MOST)
  local ttl = math.max(1, ceil_ms(units, period, bucket.excess + math.max(cost, ONE))) + slack
  local text = string.format('%.0f %.0f', bucket.excess, bucket.last)
  redis.call('SET', key, text, 'PX', string.format('%.0f', math.min(ttl, MOST)))
end
