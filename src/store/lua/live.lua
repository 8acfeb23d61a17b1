-- The server's own clock, in whole milliseconds; what is written is kept no longer than it counts.
local time = redis.call('TIME')
local now, slack = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), 0
