package document

import (
	"math/big"
	"strconv"
)

// decimal is a number other than 0 as its significant digits, neither the first nor the last of which is 0, and the
// place of the point before or among or after them: 0.d₁d₂d₃… × 10^point.
type decimal struct {
	negative bool
	digits   []byte
	point    int
}

// Numbers beyond these places of the point are outside DynamoDB's range.
const (
	lowestPoint  = -129
	highestPoint = 126
)

// numberExtent returns the length of the JSON number that text begins with, 0 when there is none.
func numberExtent(text []byte) int {
	i := 0
	if i < len(text) && text[i] == '-' {
		i++
	}
	whole := digitsAt(text, i)
	if whole == 0 || whole > 1 && text[i] == '0' {
		return 0
	}
	i += whole
	if i < len(text) && text[i] == '.' {
		n := digitsAt(text, i+1)
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		n := digitsAt(text, i)
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}

// digitsAt counts the digits that stand at text[i].
func digitsAt(text []byte, i int) int {
	n := i
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n - i
}

// readNumber reads a valid JSON number; its digits are appended to buffer. ok is false when it has more digits than a
// document may hold. 0 has no digits.
func readNumber(number, buffer []byte) (d decimal, ok bool) {
	d.digits = buffer
	zeros := 0 // read after the last significant digit so far
	fraction := false
	for i, c := range number {
		switch c {
		case '-':
			d.negative = true
		case '.':
			fraction = true
		case 'e', 'E':
			d.point += exponent(number[i+1:])
			return d, true
		case '0':
			if len(d.digits) > 0 {
				zeros++
			}
			d.point += pointStep(fraction, len(d.digits) > 0)
		default:
			if len(d.digits)+zeros >= MaxDigits {
				return d, false
			}
			for ; zeros > 0; zeros-- {
				d.digits = append(d.digits, '0')
			}
			d.digits = append(d.digits, c)
			d.point += pointStep(fraction, true)
		}
	}
	return d, true
}

// pointStep says how a digit moves the point: a significant one before it to the right, a leading zero after it to the
// left.
func pointStep(fraction, significant bool) int {
	switch {
	case significant && !fraction:
		return 1
	case fraction && !significant:
		return -1
	default:
		return 0
	}
}

// exponent reads an exponent. One that is far outside every range stays so.
func exponent(text []byte) int {
	const far = 1 << 40
	negative := text[0] == '-'
	n := 0
	for _, c := range text {
		if '0' <= c && c <= '9' {
			n = min(n*10+int(c-'0'), far)
		}
	}
	if negative {
		return -n
	}
	return n
}

func (d decimal) inRange() bool {
	return len(d.digits) == 0 || lowestPoint <= d.point && d.point <= highestPoint
}

// isInteger reports whether d has no digits after the point.
func (d decimal) isInteger() bool { return len(d.digits) <= d.point || len(d.digits) == 0 }

// appendTo appends the canonical text of d, which is how ECMAScript writes a number.
func (d decimal) appendTo(text []byte) []byte {
	if len(d.digits) == 0 {
		return append(text, '0')
	}
	if d.negative {
		text = append(text, '-')
	}
	switch {
	case d.point > 21 || d.point < -5:
		return d.appendScientific(text)
	case d.point <= 0:
		text = appendZeros(append(text, "0."...), -d.point)
		return append(text, d.digits...)
	case d.point >= len(d.digits):
		return appendZeros(append(text, d.digits...), d.point-len(d.digits))
	default:
		text = append(append(text, d.digits[:d.point]...), '.')
		return append(text, d.digits[d.point:]...)
	}
}

func (d decimal) appendScientific(text []byte) []byte {
	text = append(text, d.digits[0])
	if len(d.digits) > 1 {
		text = append(append(text, '.'), d.digits[1:]...)
	}
	text = append(text, 'e')
	if d.point > 0 {
		text = append(text, '+')
	}
	return strconv.AppendInt(text, int64(d.point-1), 10)
}

func appendZeros(text []byte, n int) []byte {
	for range n {
		text = append(text, '0')
	}
	return text
}

// digitsIn counts the significant digits of a canonical number.
func digitsIn(number []byte) int {
	digits, zeros := 0, 0
	for _, c := range number {
		switch {
		case c == 'e':
			return digits
		case c == '0':
			zeros++
		case '1' <= c && c <= '9':
			if digits > 0 {
				digits += zeros
			}
			digits++
			zeros = 0
		}
	}
	return digits
}

// add returns the number current + by, or current − by when subtract is set. ok is false when an
// integer is or gets beyond int64, and when a fraction needs more digits than a document may hold.
func add(current Value, by int64, subtract bool) (sum Value, ok bool) {
	n, err := strconv.ParseInt(string(current), 10, 64)
	if err != nil {
		d, _ := readNumber(current, make([]byte, 0, MaxDigits))
		if d.isInteger() {
			return nil, false
		}
		return addFraction(d, by, subtract)
	}
	result := n + by
	rises := by > 0
	if subtract {
		result = n - by
		rises = by < 0
	}
	wrapped := by != 0 && (result > n) != rises
	return strconv.AppendInt(nil, result, 10), !wrapped
}

// addFraction counts in units of the last digit of d.
func addFraction(d decimal, by int64, subtract bool) (sum Value, ok bool) {
	scale := len(d.digits) - d.point
	if scale > MaxDigits {
		// by shares no digit with the unit of the sum: it needs a digit for each place, unless there is nothing to add.
		return d.appendTo(nil), by == 0
	}
	units, _ := new(big.Int).SetString(string(d.digits), 10)
	if d.negative {
		units.Neg(units)
	}
	change := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	change.Mul(change, big.NewInt(by))
	if subtract {
		change.Neg(change)
	}
	units.Add(units, change)
	negative := units.Sign() < 0
	digits := units.Abs(units).Append(nil, 10)
	result := decimal{negative: negative, digits: digits, point: len(digits) - scale}
	return result.appendTo(nil), len(digits) <= MaxDigits
}
