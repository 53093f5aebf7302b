package archtest_test

// anything marks a package that may import all of the module.
const anything = "**"

// policy says which packages of the module a package may import. It is a statement of policy: a red test here is first a
// question about the design, and only then about this map.
//
// The first line that matches a package is its own. In patterns, * is one path element, ** any number of them. What is
// not allowed is forbidden, and a package that no line matches fails the test, so that it gets a place on purpose. Test
// files are free: they may set up what they need.
var policy = []rule{
	// cmd is the one place that sees everything and wires it.
	{"cmd/**", allow(anything)},

	// A context knows what all contexts share, never another context: they meet in reactions.
	{"domain", allow()},
	{"domain/*", allow("domain")},

	// The log knows no domain, so that it can be verified, exported and tested without one.
	{"eventstore", allow()},
	{"eventstore/*", allow("eventstore")},

	// The contract's generated types.
	{"api", allow()},
	{"migrations", allow()},

	// The write side. HTTP types are allowed because a context's routes are mounted next to its commands.
	{"commands", allow("domain", "domain/*", "eventstore", "api", "internal/**")},
	{"projections", allow("domain", "domain/*", "eventstore", "internal/**")},
	// A reaction is a projector whose table is a job queue, so it is built from the runner's types. Commands that it
	// ends in are handed to it by cmd.
	{"reactions", allow("domain", "domain/*", "eventstore", "projections", "internal/**")},

	// The read side sees tables, never the projectors that fill them: the table is the contract. The audit view is
	// served from the log itself.
	{"readapi", allow("domain", "domain/*", "eventstore", "api", "internal/**")},

	// Sockets: the log as it grows.
	{"subscriptions", allow("eventstore", "internal/**")},

	// The data plane.
	{"gateway", allow("domain", "domain/*", "internal/**")},
	{"gateway/*", allow("gateway", "gateway/*", "domain", "domain/*", "internal/**")},

	// Joints between the layers, each with what it joins.
	{"internal/bench", allow(anything)}, // `archon bench`, a part of cmd
	{"internal/costcheck", allow("domain", "domain/*", "eventstore", "projections", "internal/**")}, // `archon costs check`
	{"internal/eventcodec", allow("domain", "domain/*", "eventstore")},
	{"internal/httpx", allow("api", "domain", "eventstore", "internal/*")},
	{"internal/replay", allow("domain", "domain/*", "eventstore")}, // `archon routing replay`
	{"internal/spec", allow("domain")},
	{"internal/transparency", allow("eventstore", "internal/secrets")}, // signs what the log is with keys that are not in it
	{"internal/testdb", allow("internal/pgembed", "migrations")},

	// Plain infrastructure: usable by all but domain and eventstore, and knowing none of its users.
	{"internal/**", allow("internal/**")},

	// Programs for developers and generators.
	{"tools/**", allow("internal/**")},
}

// domainMayUse lists the modules outside the standard library that a decider may use: what computes, not what acts.
var domainMayUse = []string{"github.com/google/uuid"}
