package gatewaytest

import (
	"io"
	"net/http"
	"strings"
)

// Behaviour is how a [Server] answers.
type Behaviour struct {
	answer func(s *Server, w http.ResponseWriter, r *http.Request)
}

// Models answers as the real provider does, with these models: the list at the
// right path for the right key, else the documented error.
func Models(names ...string) Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, r *http.Request) {
		if status, body := s.objection(r); status != 0 {
			answerJSON(w, status, body)

			return
		}

		answerJSON(w, http.StatusOK, modelList(s.kind, names))
	}}
}

// Unauthorized answers every request as the provider documents for a wrong key.
func Unauthorized() Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, r *http.Request) {
		status, body := unauthorized(s.kind, s.sentKey(r))
		answerJSON(w, status, body)
	}}
}

// Answer answers every request with status and body, as JSON.
func Answer(status int, body string) Behaviour {
	return Behaviour{func(_ *Server, w http.ResponseWriter, _ *http.Request) { answerJSON(w, status, body) }}
}

// Text answers every request with status and body, as plain text.
func Text(status int, body string) Behaviour {
	return Behaviour{func(_ *Server, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		write(w, body)
	}}
}

// Garbage answers every request with a web page and status 200, as a captive
// portal does.
func Garbage() Behaviour {
	return Behaviour{func(_ *Server, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		write(w, "<!doctype html><html><body><h1>Welcome to the Wi-Fi</h1></body></html>")
	}}
}

// Hang takes requests and never answers, until the client goes away or the
// server is closed.
func Hang() Behaviour {
	return Behaviour{func(s *Server, _ http.ResponseWriter, r *http.Request) { s.wait(r) }}
}

// HangMidBody answers with a header and the beginning of a list, then hangs.
func HangMidBody() Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		write(w, `{"object":"list","data":[`)
		flush(w)
		s.wait(r)
	}}
}

// Big answers with a well-formed list that goes on for size bytes.
func Big(size int) Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")

		list := modelList(s.kind, []string{strings.Repeat("m", 1<<16)})
		head, tail, _ := strings.Cut(list, "[")
		entry, tail, _ := strings.Cut(tail, "]")

		write(w, head+"["+entry)

		for sent := 0; sent < size; {
			n, err := io.WriteString(w, ","+entry)
			if err != nil {
				return // the client has had enough
			}

			sent += n
			s.sent.Add(int64(n))
		}

		write(w, "]"+tail)
	}}
}

// Redirect answers every request with 302 to location.
func Redirect(location string) Behaviour {
	return Behaviour{func(_ *Server, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}}
}

// Abort closes the connection without an answer.
func Abort() Behaviour {
	return Behaviour{func(*Server, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}
}

func (s *Server) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.done:
		panic(http.ErrAbortHandler) // returning would make the answer look complete
	}
}

func answerJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	write(w, body)
}

// write ignores errors: the client may have left, which is what some tests are about.
func write(w io.Writer, text string) {
	_, _ = io.WriteString(w, text)
}

func flush(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // as above
}

// After answers as another behaviour does, once before has returned, which is called for each request.
func After(before func(), then Behaviour) Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, r *http.Request) {
		before()
		then.answer(s, w, r)
	}}
}
