package breaker

import (
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Key is the hash that holds all state of a breaker, so that the script is of one key.
func Key(tenant, provider string) string { return "circuit_breaker:" + tenant + ":" + provider }

// keep is how long Redis keeps a breaker that nobody asks for, in milliseconds: longer than anything in it matters.
const keep = 24 * 60 * 60 * 1000

// script says in Lua what machine says in Go, and its clock is Redis's. Probes are fields of their own, named p:<permit>.
// Numbers are written with %.0f: what Lua makes of a large one by itself differs between Redis and gopher-lua.
//
//nolint:gochecknoglobals // a constant
var script = redis.NewScript(`
local key, op = KEYS[1], ARGV[1]
local threshold, cooldown, half_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local window, lease, dead_retry, tell = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local permit = ARGV[9]
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local function int(n) return string.format('%.0f', n) end

local m = {state = 'closed', failures = '', dead = ''}
local probes, held, failures = {}, 0, {}
local raw = redis.call('HGETALL', key)
for i = 1, #raw, 2 do
  if string.sub(raw[i], 1, 2) == 'p:' then
    if tonumber(raw[i + 1]) > now then
      probes[string.sub(raw[i], 3)] = tonumber(raw[i + 1])
      held = held + 1
    end
  else
    m[raw[i]] = raw[i + 1]
  end
end
for _, name in ipairs({'gen', 'opened', 'cooldown', 'count', 'until', 'told', 'dead_probe', 'successes'}) do
  m[name] = tonumber(m[name] or 0)
end
for at in string.gmatch(m.failures, '%d+') do failures[#failures + 1] = tonumber(at) end
local fresh = m.gen == 0

local function turn(to)
  m.state, m.gen = to, math.max(now, m.gen + 1)
  m.successes, failures, probes, held = 0, {}, {}, 0
end
local function name()
  if m.dead ~= '' then return 'dead' end
  return m.state
end
local function recent()
  local list = {}
  for _, at in ipairs(failures) do
    if at > now - window then list[#list + 1] = at end
  end
  return list
end

if fresh then m.gen = now end
local from, to, changed = name(), nil, false
local admitted, probe, retry, loud = false, false, 0, false

if op == 'admit' then
  if m.dead == '' and m.state == 'open' and now >= m.opened + m.cooldown and now >= m['until'] then
    turn('half_open')
    changed = true
  end
  if m['until'] > now then
    retry = m['until'] - now
  elseif m.dead ~= '' then
    if now >= m.dead_probe then
      admitted, probe = true, true
      m.dead_probe = now + dead_retry
    else
      retry = m.dead_probe - now
    end
  elseif m.state == 'open' then
    retry = m.opened + m.cooldown - now
  elseif m.state == 'half_open' then
    if held + m.successes < half_max then
      admitted, probe = true, true
    else
      retry = 1000
    end
  else
    admitted = true
  end
  if probe then
    probes[permit] = now + lease
    changed = true
  end
elseif op == 'done' then
  local gen, is_probe, outcome, limit_until, reason = tonumber(ARGV[10]), ARGV[11] == '1', ARGV[12], now + tonumber(ARGV[13]), ARGV[14]
  local holds = probes[permit] ~= nil
  if gen == m.gen and is_probe == holds then
    changed = true
    probes[permit] = nil
    if outcome == 'success' then
      if is_probe then
        m.successes = m.successes + 1
        if m.dead ~= '' or m.successes >= half_max then
          m.dead, m.dead_probe, m.count = '', 0, 0
          turn('closed')
        end
      end
    elseif outcome == 'failure' then
      if m.dead == '' then
        local count, opens = 1, is_probe
        if not is_probe then
          failures = recent()
          failures[#failures + 1] = now
          count = #failures
          opens = count >= threshold
        end
        if opens then
          turn('open')
          m.opened, m.cooldown, m.count = now, cooldown, count
        end
      end
    elseif outcome == 'limited' then
      m['until'] = math.max(m['until'], limit_until)
      loud = true
      if m['until'] > now and now >= m.told + tell then
        m.told = now
        to = 'rate_limited'
      end
    elseif outcome == 'dead' then
      if m.dead == '' then turn(m.state) end
      m.dead, m.dead_probe = reason, now + dead_retry
    end
  end
elseif op == 'reset' then
  if from == 'closed' and m['until'] > now then from = 'rate_limited' end
  m.dead, m.dead_probe, m['until'], m.told, m.count = '', 0, 0, 0, 0
  turn('closed')
  changed = true
elseif op == 'adopt' then
  if m.state == 'closed' and m.dead == '' then
    if ARGV[14] ~= '' then
      turn('closed')
      m.dead, m.dead_probe = ARGV[14], now + dead_retry
    else
      turn('open')
      m.opened, m.cooldown, m.count = now - tonumber(ARGV[13]), cooldown, threshold
    end
    from, changed, loud = name(), true, true
  end
end
to = to or name()

if changed then
  local list = {}
  for i, at in ipairs(failures) do list[i] = int(at) end
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', m.state, 'gen', int(m.gen), 'failures', table.concat(list, ','), 'opened', int(m.opened),
    'cooldown', int(m.cooldown), 'count', int(m.count), 'until', int(m['until']), 'told', int(m.told), 'dead', m.dead,
    'dead_probe', int(m.dead_probe), 'successes', int(m.successes))
  for id, ends in pairs(probes) do redis.call('HSET', key, 'p:' .. id, int(ends)) end
elseif fresh then
  redis.call('HSET', key, 'gen', int(m.gen))
end
redis.call('PEXPIRE', key, int(math.max(` + strconv.Itoa(keep) + `, 2 * cooldown)))

local count, opened, ends, blocked = m.count, m.opened, 0, ''
if m.state == 'closed' then count, opened = #recent(), 0 end
if m.dead ~= '' then
  blocked, ends = 'dead', m.dead_probe
elseif m['until'] > now then
  blocked, ends = 'rate_limited', m['until']
elseif m.state == 'open' then
  ends = m.opened + m.cooldown
end
if from == to then from, to = '', '' else loud = true end
if loud then redis.call('PUBLISH', ARGV[15], ARGV[16]) end
return {int(now), admitted and '1' or '0', probe and '1' or '0', int(retry), m.state, int(m.gen), int(count), int(opened), int(ends), blocked, m.dead, from, to}
`)

// answerFields is how many values the script returns.
const answerFields = 13

// parse reads what the script returned.
func parse(values []string) (answer, error) {
	if len(values) != answerFields {
		return answer{}, fmt.Errorf("the breaker's script answered %d values in place of %d", len(values), answerFields)
	}
	var first error
	next := 0
	text := func() string {
		next++
		return values[next-1]
	}
	number := func() int64 {
		n, err := strconv.ParseInt(text(), 10, 64)
		if err != nil && first == nil {
			first = fmt.Errorf("read the breaker's answer: %w", err)
		}
		return n
	}
	a := answer{ // evaluated in this order, which is the script's
		now: number(), admitted: text() == "1", probe: text() == "1", retry: number(), state: State(text()), generation: number(),
		failures: int(number()), opened: number(), until: number(), blocked: Blocked(text()), reason: text(), from: text(), to: text(),
	}
	return a, first
}
