package budget

import "fmt"

// Amount is money in nano-USD (10^-9 USD).
type Amount int64

const (
	// NanoPerUSD is how many of them make a dollar.
	NanoPerUSD = 1_000_000_000
	// MaxAmount is the most that a limit or a reservation may be: 9,007,199 USD.
	MaxAmount Amount = 1 << 53
)

// FromE10 takes an amount in the ledger's 10^-10 USD, rounded up.
func FromE10(e10 int64) Amount {
	const perNano = 10
	amount := Amount(e10 / perNano)
	if e10%perNano > 0 {
		amount++
	}
	return amount
}

// String shows dollars.
func (a Amount) String() string {
	sign, n := "", a
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%09d USD", sign, n/NanoPerUSD, n%NanoPerUSD)
}
