package subscriptions

import (
	"context"
	"encoding/json"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

const (
	// maxMessageBytes bounds what a client sends: a ping.
	maxMessageBytes = 512
	// messagesPerSecond and messageBurst bound how often; a client pings every few seconds.
	messagesPerSecond = 5
	messageBurst      = 20
)

// onlyPings is told to a client that sends what it should not.
const onlyPings = `send {"type":"ping"} and nothing else, a few times a minute`

// listen takes what the client sends until the connection ends.
func (s *socket) listen() {
	s.conn.SetReadLimit(maxMessageBytes)
	limit := rate.NewLimiter(messagesPerSecond, messageBurst)
	for {
		kind, text, err := s.conn.Read(context.Background())
		if err != nil {
			s.finish(errGone)
			return
		}
		if !limit.Allow() || kind != websocket.MessageText || !isPing(text) {
			s.finish(errMisused)
			return
		}
		s.pongs.Add(1)
		s.signal()
	}
}

func isPing(text []byte) bool {
	var sent struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(text, &sent) == nil && sent.Type == "ping"
}
