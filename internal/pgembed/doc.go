// Package pgembed runs a private PostgreSQL cluster for one Archon data folder.
//
// [Start] finds the server programs, makes the cluster on the first run, and starts the server or adopts the one that an earlier, killed Archon
// left behind. Any number of processes may use one data folder at once; each holds a lease, and the last one to [Cluster.Release] it stops
// the server. While a lease is held, a server that dies is restarted on the port it had, so that connection pools find it again.
//
// The invariant: everything that makes, starts or stops the server happens under the exclusive lock on postgres.startlock, and a process is
// only ever signalled once it is known to be the postmaster of exactly this cluster. So processes that start at the same moment agree
// on one server, and a process id that the system gave to somebody else is left alone.
//
// Files in the data folder:
//
//	postgres/            the cluster, server.log included (see [Config.ClustersDir] for the exception)
//	postgres.json        key of all passwords, port, name of the cluster; mode 0600
//	postgres.lock        leases: a shared flock a process
//	postgres.startlock   the exclusive flock of starting and stopping
package pgembed
