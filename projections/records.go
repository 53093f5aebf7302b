package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/domain"
)

// records is an array of a composite type as PostgreSQL receives it, and as teachRecords makes pgx take it. Rows of many columns go this way: in an array a
// column, each value would be looked at by reflection here, and each array be taken apart into a table of its own there.
type records struct {
	// columns is how many columns the type has.
	columns  int
	elements []byte
	count    int
	begun    int
}

// begin begins a record; the values of all columns follow, in their order, and then end.
func (r *records) begin() {
	r.begun = len(r.elements)
	r.elements = binary.BigEndian.AppendUint32(r.elements, 0)                 // its length, see end
	r.elements = binary.BigEndian.AppendUint32(r.elements, uint32(r.columns)) //nolint:gosec // some twenty
}

func (r *records) end() {
	const itself = 4
	binary.BigEndian.PutUint32(r.elements[r.begun:], uint32(len(r.elements)-r.begun-itself)) //nolint:gosec // texts are bounded
	r.count++
}

func (r *records) value(oid uint32, length int) {
	r.elements = binary.BigEndian.AppendUint32(r.elements, oid)
	r.elements = binary.BigEndian.AppendUint32(r.elements, uint32(length)) //nolint:gosec // texts are bounded
}

func (r *records) null(oid uint32) {
	const nothing = -1
	r.value(oid, nothing)
}

func (r *records) text(text string) {
	r.value(pgtype.TextOID, len(text))
	r.elements = append(r.elements, text...)
}

// optionalText is null where there is none.
func (r *records) optionalText(text string) {
	if text == "" {
		r.null(pgtype.TextOID)
		return
	}
	r.text(text)
}

func (r *records) integer(n int64) {
	const length = 8
	r.value(pgtype.Int8OID, length)
	r.elements = binary.BigEndian.AppendUint64(r.elements, uint64(n)) //nolint:gosec // two's complement is the format
}

func (r *records) boolean(yes bool) {
	r.value(pgtype.BoolOID, 1)
	bit := byte(0)
	if yes {
		bit = 1
	}
	r.elements = append(r.elements, bit)
}

func (r *records) time(at time.Time) {
	const length = 8
	r.value(pgtype.TimestamptzOID, length)
	r.elements = binary.BigEndian.AppendUint64(r.elements, uint64(at.UnixMicro()-postgresEpoch)) //nolint:gosec // as above
}

func (r *records) id(id uuid.UUID) {
	r.value(pgtype.UUIDOID, len(id))
	r.elements = append(r.elements, id[:]...)
}

func (r *records) optionalID(id *uuid.UUID) {
	if id == nil {
		r.null(pgtype.UUIDOID)
		return
	}
	r.id(*id)
}

// amount is a numeric with ten decimal places: four digits before the point and three behind it, each of them four
// decimal ones, of which the last three never come below the tenth place.
func (r *records) amount(amount domain.Amount) {
	const whole, fraction, base, shift = 4, 3, 10_000, 100
	const length = 8 + 2*(whole+fraction)
	const negative = 0x4000
	sign, magnitude := uint16(0), uint64(amount) //nolint:gosec // its sign apart
	if amount < 0 {
		sign, magnitude = negative, -magnitude
	}
	var digits [whole + fraction]uint16
	dollars, rest := magnitude/uint64(domain.USD), magnitude%uint64(domain.USD)*shift
	for i := whole - 1; i >= 0; i-- {
		digits[i] = uint16(dollars % base)
		dollars /= base
	}
	for i := whole + fraction - 1; i >= whole; i-- {
		digits[i] = uint16(rest % base)
		rest /= base
	}
	r.value(pgtype.NumericOID, length)
	for _, field := range [...]uint16{uint16(len(digits)), whole - 1, sign, domain.AmountPlaces} {
		r.elements = binary.BigEndian.AppendUint16(r.elements, field)
	}
	for _, digit := range digits {
		r.elements = binary.BigEndian.AppendUint16(r.elements, digit)
	}
}

// optionalAmount is null where it is not known.
func (r *records) optionalAmount(amount domain.Amount, known bool) {
	if !known {
		r.null(pgtype.NumericOID)
		return
	}
	r.amount(amount)
}

// rowTaker is a Projector whose statements take records.
type rowTaker interface {
	// RowType is their composite type, which a migration has made.
	RowType() string
}

// teach makes a connection take what the statements of a projector have as arguments.
func teach(ctx context.Context, conn *pgx.Conn, projector Projector) error {
	teachNumerics(conn.TypeMap())
	if taker, is := projector.(rowTaker); is {
		return teachRecords(ctx, conn, taker.RowType())
	}
	return nil
}

var errNoRowType = errors.New("the database does not know the type; it has to be migrated")

// teachRecords makes a connection take records of a type. It asks the database once a connection.
func teachRecords(ctx context.Context, conn *pgx.Conn, rowType string) error {
	if _, taught := conn.TypeMap().TypeForName(rowType + "[]"); taught {
		return nil
	}
	var array, element uint32
	err := conn.QueryRow(ctx, `select oid, typelem from pg_type where oid = to_regtype($1 || '[]')`, rowType).Scan(&array, &element)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNoRowType
	}
	if err != nil {
		return fmt.Errorf("look up type %s: %w", rowType, err)
	}
	conn.TypeMap().RegisterType(&pgtype.Type{Name: rowType + "[]", OID: array, Codec: recordsCodec{element: element}})
	return nil
}

// recordsCodec makes pgx take records.
type recordsCodec struct {
	pgtype.ByteaCodec // binary, like records

	element uint32
}

// PlanEncode implements pgtype.Codec.
func (c recordsCodec) PlanEncode(_ *pgtype.Map, _ uint32, format int16, value any) pgtype.EncodePlan {
	if _, ours := value.(*records); !ours || format != pgtype.BinaryFormatCode {
		return nil
	}
	return recordsPlan(c)
}

type recordsPlan recordsCodec

// Encode implements pgtype.EncodePlan.
func (p recordsPlan) Encode(value any, to []byte) ([]byte, error) {
	const dimensions, withoutNulls, lowerBound = 1, 0, 1
	r := value.(*records)                                                                                 //nolint:errcheck,forcetypeassert // PlanEncode has looked
	for _, field := range [...]uint32{dimensions, withoutNulls, p.element, uint32(r.count), lowerBound} { //nolint:gosec // a batch's
		to = binary.BigEndian.AppendUint32(to, field)
	}
	return append(to, r.elements...), nil
}
