package projections

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/domain/providers"
)

// numerics is a numeric[] as PostgreSQL receives it. Histograms go this way: as decimal text they would be twice as long,
// and parsing them would cost PostgreSQL more than storing them does.
type numerics struct {
	elements []byte
	count    int
	digits   []uint16
}

// add appends the number of a histogram.
func (n *numerics) add(counts providers.Counts) {
	const header, digitBytes = 8, 2
	var power int
	n.digits, power = counts.AppendDigits(n.digits[:0])
	n.elements = binary.BigEndian.AppendUint32(n.elements, uint32(header+digitBytes*len(n.digits))) //nolint:gosec // some hundred
	n.elements = binary.BigEndian.AppendUint16(n.elements, uint16(len(n.digits)))                   //nolint:gosec // at most 320
	n.elements = binary.BigEndian.AppendUint16(n.elements, uint16(power))                           //nolint:gosec // at most 319
	n.elements = append(n.elements, 0, 0, 0, 0)                                                     // it is positive, and has no decimals
	for _, digit := range n.digits {
		n.elements = binary.BigEndian.AppendUint16(n.elements, digit)
	}
	n.count++
}

// appendArray appends the array with its header.
func (n *numerics) appendArray(to []byte) []byte {
	const dimensions, withoutNulls, lowerBound = 1, 0, 1
	for _, field := range []int{dimensions, withoutNulls, pgtype.NumericOID, n.count, lowerBound} {
		to = binary.BigEndian.AppendUint32(to, uint32(field)) //nolint:gosec // small numbers
	}
	return append(to, n.elements...)
}

// numericsCodec makes pgx take numerics for a numeric[].
type numericsCodec struct{ pgtype.Codec }

// teachNumerics makes a connection take numerics as arguments.
func teachNumerics(types *pgtype.Map) {
	known, found := types.TypeForOID(pgtype.NumericArrayOID)
	if !found {
		return // pgx has it by default
	}
	if _, taught := known.Codec.(numericsCodec); !taught {
		types.RegisterType(&pgtype.Type{Name: known.Name, OID: known.OID, Codec: numericsCodec{known.Codec}})
	}
}

// PlanEncode implements pgtype.Codec.
func (c numericsCodec) PlanEncode(types *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ours := value.(*numerics); !ours {
		return c.Codec.PlanEncode(types, oid, format, value)
	}
	if format != pgtype.BinaryFormatCode {
		return nil
	}
	return numericsPlan{}
}

type numericsPlan struct{}

// Encode implements pgtype.EncodePlan.
func (numericsPlan) Encode(value any, to []byte) ([]byte, error) {
	return value.(*numerics).appendArray(to), nil //nolint:errcheck,forcetypeassert // PlanEncode has looked
}
