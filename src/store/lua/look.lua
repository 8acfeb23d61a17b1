-- Some revocations. KEYS: the hash. ARGV: the bytes of the longest value; the fields. Answers their values.
local answer = {}
for at = 2, #ARGV do answer[at - 1] = stored(ARGV[at], ARGV[1]) end
return answer
