package dialect

import (
	"strings"
	"testing"
)

func TestMessagesHoldNothingOfThePrompt(t *testing.T) {
	t.Parallel()

	chat := chatOf(t, `{"user":"employee-4711","messages":[
		{"role":"user","name":"grandmother","content":[{"type":"text","text":"My number is 555-0199-333."},
			{"type":"image_url","image_url":{"url":"https://images.test/private.png"}}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"dial","arguments":"{\"to\":\"555-0100\"}"}}]}]}`)

	for said, want := range map[string]string{
		"no such model": "no such model",
		"Invalid 'My number is 555-0199-333.' here":      "Invalid '[…]' here",
		"can't load https://images.test/private.png now": "can't load […] now",
		"employee-4711 is blocked":                       "[…] is blocked",
		`{"to":"555-0100"} is no call`:                   "[…] is no call",
		"grandmother!":                                   "[…]!",
		"short":                                          "short",
		"":                                               "",
	} {
		if got := (&Failure{Message: said}).hiding(chat); got.Message != want {
			t.Errorf("%q: got %q, want %q", said, got.Message, want)
		}
	}

	request, err := ParseEmbeddings([]byte(`{"input":["one","a secret text"]}`))
	if err != nil {
		t.Fatal(err)
	}

	if got := (&Failure{Message: "can't embed 'a secret text'"}).hiding(request); strings.Contains(got.Message, "secret") {
		t.Errorf("got %q", got.Message)
	}
}

// No eight bytes in a row of the prompt are in the message afterwards, but for what the mark itself says.
func FuzzHiding(f *testing.F) {
	f.Add("the provider quotes: abcdefgh, and more", "abcdefgh")
	f.Add("äöüßäöüß", "öüßäöüß")

	f.Fuzz(func(t *testing.T, said, text string) {
		got := (&Failure{Message: said}).hiding(&Chat{Messages: []Message{{Parts: []Part{{Text: text}}}}}).Message

		for piece := range strings.SplitSeq(got, echoMark) {
			for start := range len(text) - echoBytes + 1 {
				if strings.Contains(piece, text[start:start+echoBytes]) {
					t.Fatalf("%q still holds %q", got, text[start:start+echoBytes])
				}
			}
		}
	})
}
