package routing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors of reading values.
var (
	errValue  = errors.New("must be a text, a number or a list of texts")
	errWeight = errors.New("must be a number from 0 to 1,000,000 with at most 6 decimal places")
)

// Value is what a condition compares with: a text, a number, or a list of texts. It keeps the form in which it was sent.
type Value struct {
	// Text counts where List is nil and Number empty.
	Text   string
	Number json.Number
	List   []string
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(data []byte) error {
	*v = Value{}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return errValue
	}
	switch first := data[0]; {
	case first == '"':
		return wrongValue(json.Unmarshal(data, &v.Text))
	case first == '[':
		v.List = []string{}
		return wrongValue(json.Unmarshal(data, &v.List))
	case first == '-' || (first >= '0' && first <= '9'):
		return wrongValue(json.Unmarshal(data, &v.Number))
	}
	return errValue
}

func wrongValue(err error) error {
	if err != nil {
		return errValue
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	switch {
	case v.List != nil:
		return json.Marshal(v.List) //nolint:wrapcheck // texts are always JSON
	case v.Number != "":
		return json.Marshal(v.Number) //nolint:wrapcheck // says what is wrong with it
	}
	return json.Marshal(v.Text) //nolint:wrapcheck // a text is always JSON
}

// String is the value as JSON writes it, for traces.
func (v Value) String() string {
	encoded, err := v.MarshalJSON()
	if err != nil {
		return "?"
	}
	return string(encoded)
}

// number is the value in units of 10^-places. A text that reads as a number is one: forms send those.
func (v Value) number(places int) (int64, bool) {
	if v.List != nil {
		return 0, false
	}
	if v.Number != "" {
		return scaled(v.Number.String(), places)
	}
	return scaled(strings.TrimSpace(v.Text), places)
}

// Weight is a share of the calls, relative to the other weights, in millionths: its JSON is a number with up to six decimal
// places.
type Weight int64

const (
	weightPlaces = 6
	// One is the weight 1, which is what a provider has where none is said.
	One Weight = 1_000_000
	// maxWeight bounds a weight, so that the sum of an action's weights fits.
	maxWeight = 1_000_000 * One
)

// ParseWeight reads a weight in the form of a JSON number.
func ParseWeight(text string) (Weight, error) {
	millionths, ok := scaled(text, weightPlaces)
	if !ok || Weight(millionths) > maxWeight {
		return 0, errWeight
	}
	return Weight(millionths), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *Weight) UnmarshalJSON(data []byte) (err error) {
	*w, err = ParseWeight(string(data))
	return err
}

// MarshalJSON implements json.Marshaler.
func (w Weight) MarshalJSON() ([]byte, error) { return []byte(w.String()), nil }

// String is the weight as a decimal number without needless zeros.
func (w Weight) String() string {
	if w < 0 {
		return "0"
	}
	text := strconv.FormatInt(int64(w/One), 10)
	if fraction := w % One; fraction > 0 {
		text += "." + strings.TrimRight(fmt.Sprintf("%06d", int64(fraction)), "0")
	}
	return text
}

const (
	// maxDigits is how many digits surely fit into an int64, and maxNumber bounds the text of a number.
	maxDigits = 18
	maxNumber = 40
)

// scaled reads a decimal number exactly, in units of 10^-places, an exponent included; ok is false where it is none, is
// negative, is finer than the unit, or has more than 18 digits of it.
func scaled(text string, places int) (value int64, ok bool) {
	if len(text) > maxNumber {
		return 0, false
	}
	mantissa, power, hasPower := strings.Cut(strings.ToLower(text), "e")
	exponent := 0
	if hasPower {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent > maxNumber || exponent < -maxNumber {
			return 0, false
		}
	}
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	if whole == "" || (hasFraction && fraction == "") || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, false
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return 0, true
	}
	shift := exponent - len(fraction) + places
	for ; shift < 0; shift++ {
		cut, isZero := strings.CutSuffix(digits, "0")
		if !isZero {
			return 0, false
		}
		digits = cut
	}
	if len(digits)+shift > maxDigits {
		return 0, false
	}
	value, err := strconv.ParseInt(digits+strings.Repeat("0", shift), 10, 64)
	return value, err == nil
}
