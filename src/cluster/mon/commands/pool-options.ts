/** Optional settings of a pool (`pool_opts_t`): the numbers they have on the wire, and their types. */

export interface PoolOptionType {
  name: string;
  key: number;
  type: 'string' | 'int' | 'float';
  /** For strings: what is accepted, besides `unset`. */
  values?: readonly string[];
}

export const POOL_OPTIONS: readonly PoolOptionType[] = [
  { name: 'scrub_min_interval', key: 0, type: 'float' },
  { name: 'scrub_max_interval', key: 1, type: 'float' },
  { name: 'deep_scrub_interval', key: 2, type: 'float' },
  { name: 'recovery_priority', key: 3, type: 'int' },
  { name: 'recovery_op_priority', key: 4, type: 'int' },
  { name: 'scrub_priority', key: 5, type: 'int' },
  {
    name: 'compression_mode',
    key: 6,
    type: 'string',
    values: ['none', 'passive', 'aggressive', 'force'],
  },
  {
    name: 'compression_algorithm',
    key: 7,
    type: 'string',
    values: ['none', 'snappy', 'zlib', 'zstd', 'lz4'],
  },
  { name: 'compression_required_ratio', key: 8, type: 'float' },
  { name: 'compression_max_blob_size', key: 9, type: 'int' },
  { name: 'compression_min_blob_size', key: 10, type: 'int' },
  { name: 'csum_max_block', key: 12, type: 'int' },
  { name: 'csum_min_block', key: 13, type: 'int' },
  { name: 'pg_num_min', key: 15, type: 'int' },
  { name: 'target_size_bytes', key: 16, type: 'int' },
  { name: 'target_size_ratio', key: 17, type: 'float' },
  { name: 'pg_autoscale_bias', key: 18, type: 'float' },
  { name: 'read_lease_interval', key: 19, type: 'float' },
  { name: 'pg_num_max', key: 23, type: 'int' },
];

export function poolOption(name: string): PoolOptionType | undefined {
  return POOL_OPTIONS.find((option) => option.name === name);
}
