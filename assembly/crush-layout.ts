// Where everything lies for CRUSH: the map's image and the scratch memory of a call.
//
// The map is an image made by src/osdmap/crush-layout.ts from a validated map: offsets stay inside it and
// no bucket contains itself. All fields are 32 bits wide, all offsets are bytes from the image's start, all
// parts lie on multiples of 16, and an absent part has offset 0.
//
//   HEADER   +0 buckets   +4 rules   +8 max devices   +12 bucket table   +16 rule table   +20 total tries
//            +24 local tries   +28 local fallback tries   +32 descend once   +36 vary r   +40 stable
//   TABLE    offset of a BUCKET or RULE per slot; bucket -1-i is in slot i
//   RULE     +0 steps   then per step: op, arg1, arg2
//   BUCKET   +0 id   +4 type   +8 alg   +12 size   +16 items   +20 first   +24 second   +28 permutation
//            +32 args   +36 number of args
//              alg          first                      second
//              1 uniform    -                          -
//              2 list       weight of each item        sum of the weights up to each item
//              3 tree       weight of each node        number of nodes
//              4 straw      straw length of each item  -
//              5 straw2     weights as f64             -
//            lists of items and of f64 are padded with zeros to a multiple of 4 entries
//   PERM     +0 x   +4 places that are settled   +8 the permutation. Only a cache: a pure function of x.
//   ARG      +0 set   +4 positions   +8 weights (a padded f64 list per position)   +12 ids; ascending by set
//
// SCRATCH, which the host gives for the time of a call:
//
//   +0      what all functions need to know (see the constants below)
//   +64     working set, +1088 chosen items, +2112 leaves of the chosen items: 256 x i32 each

export const CTX_MAP: usize = 0;
export const CTX_LOGS: usize = 4;
export const CTX_WEIGHTS: usize = 8;
export const CTX_WEIGHT_COUNT: usize = 12;
export const CTX_X: usize = 16;
export const CTX_ARG_SET: usize = 20;
/** What is left of the work limit; below 0 everything returns at once. */
export const CTX_WORK: usize = 24;
export const CTX_LEAF_TRIES: usize = 28;
export const CTX_LOCAL_TRIES: usize = 32;
export const CTX_FALLBACK_TRIES: usize = 36;
export const CTX_VARY_R: usize = 40;
export const CTX_STABLE: usize = 44;
export const WORKING: usize = 64;
export const CHOSEN: usize = WORKING + 1024;
export const LEAVES: usize = CHOSEN + 1024;
export const SCRATCH_BYTES: usize = LEAVES + 1024;
export const MAX_RESULT: i32 = 255;

export const UNIFORM: i32 = 1;
export const LIST: i32 = 2;
export const TREE: i32 = 3;
export const STRAW: i32 = 4;

/** The address of a bucket, 0 when there is none. `id` is negative. */
export function bucketOf(map: usize, id: i32): usize {
  const slot = <u32>(-1 - id);
  if (slot >= load<u32>(map)) return 0;
  const offset = load<u32>(map + load<u32>(map, 12) + (slot << 2));
  return offset == 0 ? 0 : map + offset;
}
