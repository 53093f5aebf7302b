package limits

import (
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Key is the hash of a limit: its counts by slot, their total t, and the oldest slot o and the newest n.
func Key(tenant, id string) string { return "limits:{" + tenant + "}:" + id }

// lua is what both scripts begin with. A total is read, and only where its oldest slot is over are the slots gone through.
//
//nolint:gochecknoglobals // a constant
var lua = `
local slot_ms, span = ` + strconv.Itoa(slotMS) + `, ` + strconv.FormatInt(span, 10) + `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local slot = math.floor(now / slot_ms)
local function int(n) return string.format('%.0f', n) end
local function load(key)
  local head = redis.call('HMGET', key, 't', 'o', 'n')
  local w = {total = tonumber(head[1] or 0), oldest = tonumber(head[2] or slot), newest = tonumber(head[3] or -1)}
  if w.oldest > slot - span then return w end
  w.total, w.oldest = 0, slot
  local raw, over = redis.call('HGETALL', key), {}
  for i = 1, #raw, 2 do
    local at, count = tonumber(raw[i]), tonumber(raw[i + 1])
    if at then
      if at <= slot - span then
        over[#over + 1] = raw[i]
      else
        w.total = w.total + count
        w.oldest = math.min(w.oldest, at)
      end
    end
  end
  for _, field in ipairs(over) do redis.call('HDEL', key, field) end
  redis.call('HSET', key, 't', int(w.total), 'o', int(w.oldest))
  return w
end
local function book(key, w, at, cost)
  w.total = w.total + cost
  w.newest = math.max(w.newest, at)
  redis.call('HINCRBY', key, int(at), int(cost))
  redis.call('HSET', key, 't', int(w.total), 'o', int(math.min(w.oldest, at)), 'n', int(w.newest))
  redis.call('PEXPIRE', key, (span + 1) * slot_ms)
end
`

// takeScript takes ARGV limit and cost for each key. It answers the time, the number of the limit that refuses the
// longest (0: none), its wait (-1: never), and for each key what remains and how long until it is full.
//
//nolint:gochecknoglobals // a constant
var takeScript = redis.NewScript(lua + `
local function wait(key, w, limit, cost)
  if w.total + cost <= limit then return 0 end
  if cost > limit then return -1 end
  local counts, raw = {}, redis.call('HGETALL', key)
  for i = 1, #raw, 2 do counts[raw[i]] = tonumber(raw[i + 1]) end
  local total = w.total
  for at = slot - span + 1, slot do
    total = total - (counts[int(at)] or 0)
    if total + cost <= limit then return (at + span) * slot_ms - now end
  end
  return 0
end
local all, refusing, longest = {}, 0, 0
for i, key in ipairs(KEYS) do
  local limit, cost = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  all[i] = load(key)
  local ms = wait(key, all[i], limit, cost)
  if ms ~= 0 and longest ~= -1 and (ms == -1 or ms > longest) then
    refusing, longest = i, ms
  end
end
local out = {int(now), int(refusing), int(longest)}
for i, key in ipairs(KEYS) do
  local limit, cost, w = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i]), all[i]
  if refusing == 0 and cost > 0 then book(key, w, slot, cost) end
  out[#out + 1] = int(math.max(0, limit - w.total))
  local reset = 0
  if w.total > 0 then reset = math.max(0, (w.newest + span) * slot_ms - now) end
  out[#out + 1] = int(reset)
end
return out
`)

// adjustScript corrects one limit by ARGV[2] at the time ARGV[1].
//
//nolint:gochecknoglobals // a constant
var adjustScript = redis.NewScript(lua + `
local key, at, delta = KEYS[1], math.floor(tonumber(ARGV[1]) / slot_ms), tonumber(ARGV[2])
local w = load(key)
if at <= slot - span or at > slot then
  if delta < 0 then return 0 end
  at = slot
end
delta = math.max(delta, -tonumber(redis.call('HGET', key, int(at)) or 0))
if delta ~= 0 then book(key, w, at, delta) end
return 1
`)
