package prices

import (
	"strings"
	"testing"
)

func TestAListThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	const head = "provider_type,model,effective_from,above_prompt_tokens,input,cached_input,cache_write,output\n"
	if list, err := readList([]byte("# words\n" + head + "a,m,,0,1,,,2\na,m,,5,2,,,3\na,m,,9,3,,,4\n")); err != nil || len(list) != 1 || len(list[0].Tiers) != 2 {
		t.Fatal(list, err)
	}
	for what, rows := range map[string]string{
		"other columns": "\x00", "no columns": "\x01", "a field too few": "a,m,,0,1,,2", "a tier of nothing": "a,m,,5,1,,,2", "tiers out of order": "a,m,,0,1,,,2\na,m,,9,1,,,2\na,m,,5,1,,,2",
		"a tier of another model": "a,m,,0,1,,,2\na,n,,5,1,,,2", "a tier of another date": "a,m,,0,1,,,2\na,m,2026-01-01,5,1,,,2",
		"a price twice": "a,m,,0,1,,,2\na,m,,0,1,,,2", "no date": "a,m,tomorrow,0,1,,,2", "no length": "a,m,,x,1,,,2", "a negative length": "a,m,,-1,1,,,2",
		"no input": "a,m,,0,,,,2", "no output": "a,m,,0,1,,,", "no number": "a,m,,0,x,,,2", "a finer number than there is": "a,m,,0,0.00000000001,,,2",
	} {
		file := head + rows
		switch rows {
		case "\x00":
			file = strings.ToUpper(head)
		case "\x01":
			file = ""
		}
		if list, err := readList([]byte(file)); err == nil {
			t.Errorf("%s: read as %+v", what, list)
		}
	}
}
