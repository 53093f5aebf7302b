package dialect

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// RequestError is what is wrong with a client's request, as OpenAI's 400 says it. It never repeats a value.
type RequestError struct {
	// Message says what to change.
	Message string
	// Param names the field at fault, such as messages[0].role; "" where it is the whole body.
	Param string
	// Code is OpenAI's word for the kind of problem, such as invalid_type; "" where it has none.
	Code string
}

// Error implements error.
func (e *RequestError) Error() string { return e.Message }

// The codes that OpenAI answers with.
const (
	codeInvalidType  = "invalid_type"
	codeInvalidValue = "invalid_value"
	codeMissing      = "missing_required_parameter"
)

// reader reads fields of a request and keeps the first thing that is wrong. After that, what it reads means nothing.
type reader struct{ err *RequestError }

func (r *reader) refuse(code, param, message string) {
	if r.err == nil {
		r.err = &RequestError{Message: message, Param: param, Code: code}
	}
}

func (r *reader) wrongType(param, wanted string) {
	r.refuse(codeInvalidType, param, "Invalid type for '"+param+"': expected "+wanted+".")
}

func (r *reader) missing(param string) {
	r.refuse(codeMissing, param, "Missing required parameter: '"+param+"'.")
}

// text reads a string; null counts as none.
func (r *reader) text(param string, value []byte) string {
	if !given(value) {
		return ""
	}

	if value[0] != '"' {
		r.wrongType(param, "a string")

		return ""
	}

	return textOf(value)
}

func (r *reader) model(value []byte) string {
	name := r.text("model", value)
	if len(name) > maxModelBytes {
		r.refuse(codeInvalidValue, "model", "Invalid value for 'model': names of models have at most 256 bytes.")
	}

	return name
}

func (r *reader) flag(param string, value []byte) bool {
	switch {
	case !given(value) || value[0] == 'f':
		return false
	case value[0] == 't':
		return true
	}

	r.wrongType(param, "true or false")

	return false
}

func (r *reader) optionalFlag(param string, value []byte) *bool {
	if !given(value) {
		return nil
	}

	flag := r.flag(param, value)

	return &flag
}

func (r *reader) number(param string, value []byte) json.Number {
	if !given(value) {
		return ""
	}

	if !isNumber(value) {
		r.wrongType(param, "a number")

		return ""
	}

	return json.Number(value)
}

// positive reads a whole number from 1 to most.
func (r *reader) positive(param string, value []byte, most int64) int64 {
	if !given(value) {
		return 0
	}

	number, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		r.wrongType(param, "a whole number")

		return 0
	}

	if number < 1 || number > most {
		r.refuse(codeInvalidValue, param, "Invalid value for '"+param+"': expected a whole number from 1 to "+strconv.FormatInt(most, 10)+".")
	}

	return number
}

// object refuses anything but an object; null counts as none.
func (r *reader) object(param string, value []byte) []byte {
	return r.container(param, value, '{', "an object")
}

func (r *reader) list(param string, value []byte) []byte {
	return r.container(param, value, '[', "an array")
}

func (r *reader) container(param string, value []byte, open byte, wanted string) []byte {
	if !given(value) {
		return nil
	}

	if value[0] != open {
		r.wrongType(param, wanted)

		return nil
	}

	return value
}

// texts reads a string or an array of strings.
func (r *reader) texts(param string, value []byte) []string {
	switch {
	case !given(value):
		return nil
	case value[0] == '"':
		return []string{textOf(value)}
	case value[0] != '[':
		r.wrongType(param, "a string or an array of strings")

		return nil
	}

	var texts []string

	for element := range elements(value) {
		if element[0] != '"' {
			r.wrongType(at(param, len(texts)), "a string")

			return nil
		}

		texts = append(texts, textOf(element))
	}

	return texts
}

// fields reads the body's own fields, which alias it.
func (r *reader) fields(body []byte) map[string]json.RawMessage {
	const usual = 16

	body = bytes.TrimSpace(body)

	switch {
	case !utf8.Valid(body) || !json.Valid(body):
		r.refuse("", "", "We could not parse the JSON body of your request: it is not valid JSON in UTF-8.")
	case body[0] != '{':
		r.refuse("", "", "The body of your request must be a JSON object.")
	}

	if r.err != nil {
		return nil
	}

	fields := make(map[string]json.RawMessage, usual)
	for key, value := range members(body) {
		fields[string(key)] = slices.Clip(value)
	}

	return fields
}

func isNumber(value []byte) bool { return value[0] == '-' || value[0] >= '0' && value[0] <= '9' }

// at is the name of an array's element.
func at(param string, index int) string { return param + "[" + strconv.Itoa(index) + "]" }
