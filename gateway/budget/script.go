package budget

import (
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Key is the hash of a level: spent, held, base (the position of the log up to which the ledger's sum is in spent), due
// (when the first reservation may be over), top (the highest position settled), epoch (changes when what was known is not
// any more), a field r:<id> a reservation with its amount and its end, x:<id> one that is over with its amount and when it was
// found to be, and s:<id> a call that was settled without a reservation, and when. One key a level, so that it is never lost in part.
func Key(tenant, level string) string { return "budget:{" + tenant + "}:" + level }

// keep is how long Redis keeps a level that nobody uses; it is rebuilt from the ledger then.
const keep = 24 * time.Hour

//nolint:gochecknoglobals // a constant
var lua = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function int(n) return string.format('%.0f', n) end
local function load(key, spent, base)
  local raw = redis.call('HMGET', key, 'spent', 'held', 'base', 'due')
  if not raw[1] then
    if spent == '' then return nil end
    redis.call('DEL', key)
    redis.call('HSET', key, 'spent', spent, 'held', '0', 'base', base, 'due', '0', 'top', '0', 'epoch', time[1] .. '-' .. time[2])
    raw = {spent, '0', base, '0'}
  end
  local l = {spent = tonumber(raw[1]), held = tonumber(raw[2]), base = tonumber(raw[3]), due = tonumber(raw[4])}
  if l.due > 0 and l.due <= now then
    l.due = 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 2) == 'r:' then
        local amount, ends = string.match(all[i + 1], '(%d+):(%d+)')
        amount, ends = tonumber(amount), tonumber(ends)
        if ends <= now then
          l.held, l.spent = l.held - amount, l.spent + amount
          redis.call('HDEL', key, all[i])
          redis.call('HSET', key, 'x:' .. string.sub(all[i], 3), int(amount) .. ':' .. int(now), 'lapsed', '1')
        elseif l.due == 0 or ends < l.due then
          l.due = ends
        end
      elseif string.sub(all[i], 1, 2) == 's:' and tonumber(all[i + 1]) + ` + strconv.FormatInt(Hold.Milliseconds(), 10) + ` <= now then
        redis.call('HDEL', key, all[i])
      end
    end
  end
  return l
end
local function store(key, l)
  redis.call('HSET', key, 'spent', int(l.spent), 'held', int(l.held), 'base', int(l.base), 'due', int(l.due))
  redis.call('PEXPIRE', key, ` + strconv.FormatInt(keep.Milliseconds(), 10) + `)
end
`

// reserveScript may come twice, for the client sends it again when it has had no answer. It takes ARGV id, amount, hold in ms, and limit, blocks, spent and base for each key; the last two are empty
// where the ledger was not asked. It answers "missing" with the number of the level, "exceeded" with number, spent, held
// and whether reservations have lapsed, or "ok" with the epochs of all
// and the numbers of those beyond their limit that only warn.
//
//nolint:gochecknoglobals // a constant
var reserveScript = redis.NewScript(lua + `
local id, amount, hold = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local all, over = {}, {}
for i, key in ipairs(KEYS) do
  all[i] = load(key, ARGV[4 * i + 2], ARGV[4 * i + 3])
  if not all[i] then return {'missing', int(i)} end
  store(key, all[i])
end
for i, key in ipairs(KEYS) do
  local l = all[i]
  if redis.call('HEXISTS', key, 'r:' .. id) == 0 and l.spent + l.held + amount > tonumber(ARGV[4 * i]) then
    if ARGV[4 * i + 1] == '1' then
      return {'exceeded', int(i), int(l.spent), int(l.held), redis.call('HGET', key, 'lapsed') or '0'}
    end
    over[#over + 1] = int(i)
  end
end
for i, key in ipairs(KEYS) do
  local l = all[i]
  if redis.call('HSETNX', key, 'r:' .. id, int(amount) .. ':' .. int(now + hold)) == 1 then
    l.held = l.held + amount
    if l.due == 0 or now + hold < l.due then l.due = now + hold end
  end
  store(key, l)
end
local out = {'ok'}
for i, key in ipairs(KEYS) do out[#out + 1] = redis.call('HGET', key, 'epoch') end
for _, i in ipairs(over) do out[#out + 1] = i end
return out
`)

// settleScript may come twice too. It takes ARGV id, actual, position, and spent, base and the reservation's epoch for each key. A
// reservation that the level does not know was settled before; in another epoch it was lost, and counts unless the ledger has it.
// Where the epoch is empty there was no reservation: the call counts once likewise, if the level is known, and if it is
// not, the ledger will have the call when it is asked. It answers with what is spent on each level, empty where that is
// not known, or is too much since reservations have lapsed.
//
//nolint:gochecknoglobals // a constant
var settleScript = redis.NewScript(lua + `
local id, actual, position = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local all = {}
for i, key in ipairs(KEYS) do
  all[i] = load(key, ARGV[3 * i + 1], ARGV[3 * i + 2]) or false
  if not all[i] and ARGV[3 * i + 3] ~= '' then return {'missing', int(i)} end
end
local out = {'ok'}
for i, key in ipairs(KEYS) do
  local l = all[i]
  if l then
    local known = redis.call('HMGET', key, 'r:' .. id, 'x:' .. id, 'epoch', 'top')
    local counts = known[3] ~= ARGV[3 * i + 3]
    if ARGV[3 * i + 3] == '' then
      counts = redis.call('HSETNX', key, 's:' .. id, int(now)) == 1
    elseif known[1] then
      l.held, counts = l.held - tonumber(string.match(known[1], '(%d+):')), true
      redis.call('HDEL', key, 'r:' .. id)
    elseif known[2] then
      l.spent, counts = l.spent - tonumber(string.match(known[2], '(%d+):')), true
      redis.call('HDEL', key, 'x:' .. id)
    end
    if counts and (position == 0 or position > l.base) then l.spent = l.spent + actual end
    redis.call('HSET', key, 'top', int(math.max(tonumber(known[4]), position)))
    store(key, l)
    out[#out + 1] = redis.call('HGET', key, 'lapsed') == '1' and '' or int(l.spent)
  else
    out[#out + 1] = ''
  end
end
return out
`)

// reconcileScript takes ARGV spent, base and the time, by Redis, before the ledger was read. What lapsed before then has
// come to what the ledger says. It does nothing where something was settled that the ledger's sum may lack.
//
//nolint:gochecknoglobals // a constant
var reconcileScript = redis.NewScript(lua + `
local key, base, asked = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local l = load(key, ARGV[1], ARGV[2])
if base < l.base or base < tonumber(redis.call('HGET', key, 'top')) then return 0 end
local spent, lapsed, all = tonumber(ARGV[1]), 0, redis.call('HGETALL', key)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'x:' then
    local amount, since = string.match(all[i + 1], '(%d+):(%d+)')
    if tonumber(since) <= asked then
      redis.call('HDEL', key, all[i])
    else
      spent, lapsed = spent + tonumber(amount), 1
    end
  elseif string.sub(all[i], 1, 2) == 's:' then
    redis.call('HDEL', key, all[i])
  end
end
redis.call('HSET', key, 'lapsed', int(lapsed), 'epoch', time[1] .. '-' .. time[2])
l.spent, l.base = spent, base
store(key, l)
return 1
`)
