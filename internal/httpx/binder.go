package httpx

import (
	"encoding/json"
	"errors"

	"github.com/labstack/echo/v4"
)

// errUndecodable says that a body which is valid by the document does not fit the type generated from it: the middleware
// checks less than the decoder. The decoder's own error quotes values and is dropped.
var errUndecodable = errors.New("a valid body does not fit its generated type")

// bodyBinder decodes the body that the middleware has read and checked, for the generated code. It takes nothing from the
// path or the query.
type bodyBinder struct{}

// Bind decodes the body into a generated type.
func (bodyBinder) Bind(into any, c echo.Context) error {
	if json.Unmarshal(From(c.Request().Context()).Body, into) != nil {
		return errUndecodable
	}
	return nil
}
