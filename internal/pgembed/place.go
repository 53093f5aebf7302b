package pgembed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clusterName is the cluster's folder within the data folder.
const clusterName = "postgres"

// place is where a cluster lives and as whom its server runs.
type place struct {
	dir string
	bin string
	// major is that of the programs and, where the cluster exists, of the cluster.
	major int
	// fresh means that there is no cluster yet.
	fresh   bool
	account account
}

// locate finds the cluster of a data folder, or decides where the new one goes; then it names it in the state.
func locate(ctx context.Context, cfg Config, st *state) (place, error) {
	dir := filepath.Join(cfg.DataDir, clusterName)
	if st.Cluster != "" {
		dir = filepath.Join(cfg.ClustersDir, st.Cluster)
	}
	major, err := clusterMajor(dir)
	if err != nil {
		return place{}, err
	}
	found, err := findPrograms(ctx, cfg.BinDir, major)
	if err != nil {
		return place{}, fmt.Errorf("cluster %s: %w", dir, err)
	}
	p := place{dir: dir, bin: found.dir, major: found.major, fresh: major == 0}
	if p.fresh {
		return p.settle(ctx, cfg, st)
	}
	p.account, err = ownerAccount(dir)
	if err != nil {
		return place{}, err
	}
	return p, p.check(ctx)
}

// settle chooses the place of a new cluster: in the data folder, if the server's user can get there.
func (p place) settle(ctx context.Context, cfg Config, st *state) (place, error) {
	var err error
	if p.account, err = serverAccount(); err != nil {
		return place{}, err
	}
	if st.Cluster == "" {
		ok, err := p.account.reaches(ctx, p.bin, cfg.DataDir)
		if ok || err != nil {
			return p, err
		}
	}
	if err := makeDirs(cfg.ClustersDir, searchableMode); err != nil {
		return place{}, err
	}
	if st.Cluster == "" {
		st.Cluster = randomHex(clusterIDBytes)
		p.dir = filepath.Join(cfg.ClustersDir, st.Cluster)
	}
	return p, p.check(ctx)
}

// check refuses a place that the server's user cannot get to.
func (p place) check(ctx context.Context) error {
	parent := filepath.Dir(p.dir)
	ok, err := p.account.reaches(ctx, p.bin, parent)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s cannot enter %s or run the programs in %s", ErrUnreachable, p.account.name, parent, p.bin)
	}
	return err
}

// clusterMajor returns the version that made the cluster in dir, 0 where there is none.
func clusterMajor(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the cluster's version: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("read the cluster's version: %w", err)
	}
	return major, nil
}

func isCluster(dir string) bool {
	major, err := clusterMajor(dir)
	return err == nil && major != 0
}
