package pgembed

import "errors"

var (
	// ErrNoPostgres means that no PostgreSQL server programs were found. The text tells a user what to do.
	ErrNoPostgres = errors.New("no PostgreSQL 15 or newer found: install it (apt-get install postgresql, or brew install postgresql@16), " +
		"or set ARCHON_PG_BIN to the folder of its programs, or ARCHON_DATABASE_URL to a server that runs elsewhere")
	// ErrWrongMajor means that the cluster was made by another major version of PostgreSQL than any that was found: install that one again,
	// or move the data with pg_dump or pg_upgrade.
	ErrWrongMajor = errors.New("the cluster needs another major version of PostgreSQL")
	// ErrNoDataDir means that Config.DataDir is empty.
	ErrNoDataDir = errors.New("no data folder given")
	// ErrUnreachable means that the user that the server runs as may not enter the cluster's folder: a parent folder lacks the search
	// permission.
	ErrUnreachable = errors.New("the server's user cannot reach the cluster's folder: make every parent folder searchable (chmod o+x)")
	// ErrKeyMissing means that a cluster is there, but postgres.json, which holds the key of its passwords, is not: put the file back, or
	// remove the cluster's folder to begin with an empty one.
	ErrKeyMissing = errors.New("postgres.json is missing beside an existing cluster")
	// ErrBadState means that postgres.json cannot be understood: put a good copy back.
	ErrBadState = errors.New("postgres.json is malformed")
	// ErrBadSetting means that a name in Config.ExtraSettings is not a setting's name, or its value has a line break or NUL in it.
	ErrBadSetting = errors.New("malformed PostgreSQL setting")
	// ErrPortTaken means that another program listens on the port that this cluster's other processes are told to use.
	ErrPortTaken = errors.New("the server's port is taken by another program")

	// ErrFolderBusy means that processes of an earlier server still use the cluster's folder, possibly in another container: end them.
	ErrFolderBusy = errors.New("processes of an earlier server still use the cluster's folder")
	// ErrInUse means that a cluster is not removed because other processes use it.
	ErrInUse = errors.New("the cluster is in use by other processes")

	// errRetry marks a failed start that another try may mend.
	errRetry        = errors.New("try again")
	errMoved        = errors.New("the server moved")
	errDied         = errors.New("the server ended")
	errSilent       = errors.New("the server does not answer as ours")
	errStillRunning = errors.New("the server survives SIGKILL")
)
