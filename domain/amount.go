package domain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Amount is money in units of 10⁻¹⁰ USD, the precision to which the cost of a call is rounded. It reaches about 922
// million USD either way. Sums are exact; nothing in between is ever a float.
type Amount int64

const (
	// USD is one dollar.
	USD Amount = 10_000_000_000
	// NanoUSD is 10⁻⁹ USD, the unit in which budgets are counted.
	NanoUSD Amount = 10

	// AmountPlaces are the decimal places of an Amount.
	AmountPlaces = 10
	// shownPlaces are the decimal places that the API shows.
	shownPlaces = 6
	decimalBase = 10
)

// Errors of ParseAmount; their texts are for the one who sent the amount.
var (
	ErrNotAnAmount    = errors.New("must be a number of dollars")
	ErrTooManyPlaces  = errors.New("has too many decimal places")
	ErrAmountTooLarge = errors.New("must be smaller")
)

// maxAmountText bounds the text of an amount and maxExponent the exponent in it, so that parsing is cheap whatever is sent.
const (
	maxAmountText = 64
	maxExponent   = 30
)

// ParseAmount reads dollars in the form of a JSON number, an exponent included, exactly: an amount with more than places
// decimal places (trailing zeros don't count) is ErrTooManyPlaces, never rounded.
func ParseAmount(text string, places int) (Amount, error) {
	if len(text) > maxAmountText || !json.Valid([]byte(text)) || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, ErrNotAnAmount
	}
	mantissa, exponent, err := split(text)
	if err != nil {
		return 0, err
	}
	digits := strings.TrimLeft(strings.TrimPrefix(mantissa, "-"), "0")
	if digits == "" {
		return 0, nil
	}
	for strings.HasSuffix(digits, "0") {
		digits, exponent = digits[:len(digits)-1], exponent+1
	}
	if -exponent > min(places, AmountPlaces) {
		return 0, fmt.Errorf("%w: at most %d", ErrTooManyPlaces, min(places, AmountPlaces))
	}
	amount, err := strconv.ParseInt(sign(mantissa)+digits+strings.Repeat("0", exponent+AmountPlaces), decimalBase, 64)
	if err != nil {
		return 0, ErrAmountTooLarge
	}
	return Amount(amount), nil
}

func sign(mantissa string) string {
	if strings.HasPrefix(mantissa, "-") {
		return "-"
	}
	return ""
}

// split takes a JSON number apart into a whole number and a power of ten.
func split(text string) (mantissa string, exponent int, err error) {
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	if power != "" {
		if exponent, err = strconv.Atoi(power); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return "", 0, ErrNotAnAmount
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	return whole + fraction, exponent - len(fraction), nil
}

// String is the amount as a decimal with all ten places: "0.0012345000".
func (a Amount) String() string {
	digits := fmt.Sprintf("%0*d", AmountPlaces+1, a.magnitude())
	cut := len(digits) - AmountPlaces
	return a.sign() + digits[:cut] + "." + digits[cut:]
}

// Number is the amount as the API shows it: a JSON number with at most six places, rounded half to even.
func (a Amount) Number() json.Number {
	const unit = 10_000 // of the last place that is shown
	magnitude := a.magnitude()
	rounded, rest := magnitude/unit, magnitude%unit
	if rest > unit/2 || (rest == unit/2 && rounded%2 == 1) {
		rounded++
	}
	if rounded == 0 {
		return "0"
	}
	digits := fmt.Sprintf("%0*d", shownPlaces+1, rounded)
	cut := len(digits) - shownPlaces
	return json.Number(a.sign() + strings.TrimSuffix(strings.TrimRight(digits[:cut]+"."+digits[cut:], "0"), "."))
}

// MarshalJSON writes the decimal as a JSON string, since JSON numbers are floats to many readers of events.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Amount) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("decode an amount: %w", err)
	}
	amount, err := ParseAmount(text, AmountPlaces)
	if err != nil {
		return fmt.Errorf("decode an amount: %w", err)
	}
	*a = amount
	return nil
}

func (a Amount) sign() string {
	if a < 0 {
		return "-"
	}
	return ""
}

// magnitude is the amount without its sign; two's complement makes it right for the smallest one too.
func (a Amount) magnitude() uint64 {
	if a < 0 {
		return -uint64(a) //nolint:gosec // wraps on purpose
	}
	return uint64(a)
}
