// The packing that all object map kernels share: Ceph's BitVector<2> (src/common/bit_vector.hpp).
//
//   byte       0                            1
//   bit        7 6   5 4   3 2   1 0        7 6   5 4   3 2   1 0
//   object      0     1     2     3          4     5     6     7
//
// A state is a lane of two bits, the high one first. One shift right brings each high bit over its low bit, and what crosses
// from another lane or byte lands on the odd bits, which LOW masks: so whole vectors are worked on whatever the order of
// their bytes. Only who asks for positions reverses the bytes of a word, and counts from its highest bit.
//
// A map begins on 64 bytes and is followed by zeros up to the next 64: what is beyond its objects is NONEXISTENT, and
// whole blocks may be read.

/** The low bit of each lane. */
export const LOW: u64 = 0x5555555555555555;

export const ALL: u64 = 0xffffffffffffffff;

/** 64 bytes: what is looked at together. */
export const BLOCK: usize = 64;
export const BLOCK_OBJECTS: u32 = 256;

/** Where the word lies that has the object. */
export function wordOf(map: usize, object: u32): usize {
  return map + ((<usize>(object >>> 5)) << 3);
}

/** The lanes of a word from the object's on, as they lie in memory. */
export function lanesFrom(object: u32): u64 {
  return bswap<u64>(ALL >>> ((<u64>(object & 31)) << 1));
}

/** The lanes of a word up to the object's, that one included, as they lie in memory. */
export function lanesTo(object: u32): u64 {
  return bswap<u64>(ALL << (62 - ((<u64>(object & 31)) << 1)));
}

// Membership of a state in a set, for many lanes at once. With h and l for a lane's bits,
//
//   member(h, l)  =  none ^ (low & l) ^ (h & (high ^ (both & l)))
//
// where each of the four is all ones or all zeros. The result is in the low bit of the lane, the other is noise.
// A set has bit s for state s.

export function setNone(states: u32): u64 {
  return -(<u64>(states & 1));
}

export function setLow(states: u32): u64 {
  return -(<u64>((states ^ (states >>> 1)) & 1));
}

export function setHigh(states: u32): u64 {
  return -(<u64>((states ^ (states >>> 2)) & 1));
}

export function setBoth(states: u32): u64 {
  return -(<u64>((states ^ (states >>> 1) ^ (states >>> 2) ^ (states >>> 3)) & 1));
}

/** The low bit of each lane whose state is in the set. */
export function members(word: u64, states: u32): u64 {
  const high = (word >>> 1) & (setHigh(states) ^ (setBoth(states) & word));
  return (setNone(states) ^ (setLow(states) & word) ^ high) & LOW;
}
