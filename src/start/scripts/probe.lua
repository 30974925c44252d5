-- Does the store take what a start writes? Asked of a key of its own, which goes by itself. Answers 1.
function verbs.probe(key)
  redis.call('MSET', key, '1')
  redis.call('PEXPIRE', key, 60000)
  return YES
end
