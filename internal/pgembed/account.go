package pgembed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user of the operating system that the server runs as. PostgreSQL refuses to run as root, so root hands it to somebody else.
type account struct {
	name string
	// credential is nil where the server runs as the user of this process.
	credential *syscall.Credential
}

func isRoot() bool { return os.Geteuid() == 0 }

// serverAccount picks the user for a new cluster.
func serverAccount() (account, error) {
	if !isRoot() {
		return account{name: "the current user"}, nil
	}
	var lastErr error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err == nil {
			return accountOf(u)
		}
		lastErr = err
	}
	return account{}, fmt.Errorf("find a user to run PostgreSQL as, since root may not: %w", lastErr)
}

func accountOf(u *user.User) (account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("read id of user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("read group of user %s: %w", u.Username, err)
	}
	return account{name: u.Username, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// ownerAccount is the user for an existing cluster: whoever owns it. So root can serve a data folder that an ordinary user made.
func ownerAccount(dir string) (account, error) {
	if !isRoot() {
		return serverAccount()
	}
	info, err := os.Stat(dir)
	if err != nil {
		return account{}, fmt.Errorf("look at the cluster: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return serverAccount()
	}
	name := strconv.Itoa(int(stat.Uid))
	return account{name: "user " + name, credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}, nil
}

// own gives a file to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	if err := os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, a.name, err)
	}
	return nil
}

// command prepares a server program to run as the account, in a process group of its own: Ctrl-C on the terminal reaches Archon, which then
// drains and stops the server itself. The environment is a bare one: PGPORT and the like of the caller mean other servers, and Archon's own settings
// hold secrets.
func (a account) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.credential}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

// reaches tells whether the account can work inside dir. It tries, since mode bits alone say nothing of ACLs and the like.
func (a account) reaches(ctx context.Context, bin, dir string) (bool, error) {
	if a.credential == nil {
		return true, nil
	}
	cmd := a.command(ctx, filepath.Join(bin, "postgres"), "--version")
	cmd.Dir = dir
	err := cmd.Run()
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("try to work in %s as %s: %w", dir, a.name, errors.Join(err, ctx.Err()))
	}
	return true, nil
}
