package redis

import "hash/crc64"

// jones is the polynomial of Redis's CRC-64, bit-reversed.
var jones = crc64.MakeTable(0x95AC9329AC4BC9B5)

// crcUpdate adds p to a sum that starts with 0. Package crc64 inverts before and after, Redis does not.
func crcUpdate(crc uint64, p []byte) uint64 { return ^crc64.Update(^crc, jones, p) }
