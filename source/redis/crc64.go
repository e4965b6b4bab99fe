package redis

import (
	"encoding/binary"
	"hash/crc64"
)

// Redis's CRC-64 is Jones's, reflected, and starts with 0. Package crc64 inverts before and after, and takes
// tables for speed only of its own two polynomials.

// shifted holds what a byte does to the sum when 0 to 15 bytes follow it.
var shifted = func() (t [16][256]uint64) {
	jones := crc64.MakeTable(0x95AC9329AC4BC9B5) // the polynomial, bit-reversed
	t[0] = *jones
	for b, crc := range t[0] {
		for i := 1; i < len(t); i++ {
			crc = t[0][byte(crc)] ^ crc>>8
			t[i][b] = crc
		}
	}
	return t
}()

// crcUpdate adds p to a sum that starts with 0.
func crcUpdate(crc uint64, p []byte) uint64 {
	t := &shifted
	for len(p) >= 16 {
		a := crc ^ binary.LittleEndian.Uint64(p)
		b := binary.LittleEndian.Uint64(p[8:])
		crc = t[15][byte(a)] ^ t[14][byte(a>>8)] ^ t[13][byte(a>>16)] ^ t[12][byte(a>>24)] ^
			t[11][byte(a>>32)] ^ t[10][byte(a>>40)] ^ t[9][byte(a>>48)] ^ t[8][byte(a>>56)] ^
			t[7][byte(b)] ^ t[6][byte(b>>8)] ^ t[5][byte(b>>16)] ^ t[4][byte(b>>24)] ^
			t[3][byte(b>>32)] ^ t[2][byte(b>>40)] ^ t[1][byte(b>>48)] ^ t[0][byte(b>>56)]
		p = p[16:]
	}
	for _, b := range p {
		crc = t[0][byte(crc)^b] ^ crc>>8
	}
	return crc
}
