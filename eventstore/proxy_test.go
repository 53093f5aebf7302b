package eventstore_test

import (
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// cut is a way to lose a connection while a request is on it.
type cut int32

const (
	cutNothing cut = iota
	// cutBefore loses the request.
	cutBefore
	// cutAfter loses the connection when the server has the request.
	cutAfter
	// cutAnswer loses the answer: what was asked for has happened.
	cutAnswer
	// cutLate loses the connection, and the server gets the request when the client has long begun to look what happened.
	cutLate
	cutKinds
)

// proxy stands between a pool and PostgreSQL and cuts connections.
type proxy struct {
	listener net.Listener
	target   string
	// choose is asked for each piece that a client sends.
	choose func(piece []byte) cut
	// refusing makes new connections fail.
	refusing atomic.Bool
	cuts     [cutKinds]atomic.Int64

	lock  sync.Mutex
	conns map[net.Conn]bool
}

// lateness is how long a request is held that comes late.
const lateness = 30 * time.Millisecond

// newProxy returns a proxy for the server of dsn and the connection string to use instead.
func newProxy(dsn string, choose func(piece []byte) cut) (*proxy, string) {
	GinkgoHelper()
	address, err := url.Parse(dsn)
	Expect(err).NotTo(HaveOccurred())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	p := &proxy{listener: listener, target: address.Host, choose: choose, conns: map[net.Conn]bool{}}
	go p.accept()
	DeferCleanup(func() {
		_ = listener.Close()
		p.cutAll()
	})
	address.Host = listener.Addr().String()
	return p, address.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.refusing.Load() {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.lock.Lock()
		p.conns[client], p.conns[server] = true, true
		p.lock.Unlock()
		go p.serve(client, server)
	}
}

// cutAll cuts every connection.
func (p *proxy) cutAll() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
}

func (p *proxy) serve(client, server net.Conn) {
	var swallow atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			if err != nil || swallow.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 1<<20)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			_ = server.Close()
			return
		}
		kind := p.choose(buffer[:n])
		if kind == cutNothing {
			if _, err := server.Write(buffer[:n]); err != nil {
				_ = client.Close()
				return
			}
			continue
		}
		p.cuts[kind].Add(1)
		swallow.Store(true)
		p.lose(kind, client, server, buffer[:n])
		return
	}
}

func (p *proxy) lose(kind cut, client, server net.Conn, piece []byte) {
	defer func() { _ = server.Close() }()
	defer func() { _ = client.Close() }()
	switch kind {
	case cutAfter:
		_, _ = server.Write(piece)
	case cutAnswer: // the other direction closes the client when the answer is there
		_, _ = server.Write(piece)
		_, _ = client.Read(piece)
	case cutLate:
		_ = client.Close()
		<-time.After(lateness)
		_, _ = server.Write(piece)
		<-time.After(lateness)
	case cutNothing, cutBefore, cutKinds:
	}
}

// sometimes cuts one piece of so many, in any way.
func sometimes(one int) func([]byte) cut {
	return func([]byte) cut {
		if rand.IntN(one) > 0 {
			return cutNothing
		}
		return cut(1 + rand.IntN(int(cutKinds)-1))
	}
}
