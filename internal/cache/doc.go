// Package cache gives Archon its Redis: one by URL, or one of its own.
//
// [Open] connects to Config.URL where one is given. Otherwise it starts the redis-server of the machine as a child, and where there is none it serves Redis
// from within the process. The [Bus] wakes other nodes over it.
//
// The invariant: nothing in Redis is needed to be right. Losing it, or never reaching it, costs speed and shared counters, never an answer; so Open succeeds
// with an unreachable Redis, every call is bounded by short timeouts, and an embedded server keeps nothing over a restart.
//
// On Linux the kernel ends an embedded server together with its Archon, however that ends. Elsewhere the orphan of a killed Archon is shut down by the next
// Open of the same data folder.
//
// Files in the data folder, for an embedded redis-server only:
//
//	redis.lock                 held while a process looks for orphans and enters its own server
//	redis-<pid>-<random>.json  port and password of one server, mode 0600, locked for as long as its Archon lives
package cache
