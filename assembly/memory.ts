// Where the host may begin to place its own data: above the tables that the kernels own.

export function heapBase(): usize {
  return __heap_base;
}
