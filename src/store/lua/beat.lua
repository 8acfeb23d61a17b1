-- A node lives for another while. KEYS: the nodes. ARGV: this node, for how many milliseconds, and whom it takes the place
-- of, if anyone. Answers whether it was known.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[3] ~= '' then redis.call('ZREM', KEYS[1], ARGV[3]) end
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) * 2))
if known then return 1 end
return 0
